"""KEDA's side of an external scaler: grpcio, with what protoc makes of our .proto."""

import grpc

from .programs import SOURCE
from .protobuf import generated
from .waiting import PATIENCE_S, patience

PROTO = SOURCE / "proxy" / "scaling" / "external_scaler.proto"
SERVICE = "/externalscaler.ExternalScaler/"

messages = generated(PROTO)


class Keda:
    """One trigger of one ScaledObject, asking the proxy that listens at `address`."""

    def __init__(self, address, **metadata):
        self.channel = grpc.insecure_channel("%s:%d" % address)
        metadata = {"scalerAddress": "%s:%d" % address, **metadata}
        self.object = messages.ScaledObjectRef(name="model", namespace="penstock",
                                               scaler_metadata=metadata)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def call(self, method, request, response):
        made = self.channel.unary_unary(
            SERVICE + method, request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=getattr(messages, response).FromString)
        return made(request, timeout=patience(PATIENCE_S), wait_for_ready=True)

    def stream(self, method, response):
        """An iterator over what comes, with cancel()."""
        made = self.channel.unary_stream(
            SERVICE + method, request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=getattr(messages, response).FromString)
        return made(self.object, timeout=patience(60), wait_for_ready=True)

    def active(self):
        return self.call("IsActive", self.object, "IsActiveResponse").result

    def active_stream(self):
        return self.stream("StreamIsActive", "IsActiveResponse")

    def spec(self):
        spec, = self.call("GetMetricSpec", self.object, "GetMetricSpecResponse").metric_specs
        return spec

    def metric(self, name=None):
        """The value of the metric that the spec names, as KEDA asks for it."""
        request = messages.GetMetricsRequest(scaled_object_ref=self.object,
                                             metric_name=name or self.spec().metric_name)
        value, = self.call("GetMetrics", request, "GetMetricsResponse").metric_values
        return value
