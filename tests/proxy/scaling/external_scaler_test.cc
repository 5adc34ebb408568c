// KEDA's questions and answers, message by message; written and read here with the generated code.

#include "proxy/scaling/external_scaler.h"

#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <proxy/scaling/external_scaler.pb.h>

namespace penstock::proxy {
namespace {

using Call = ExternalScaler::Call;
using ::testing::HasSubstr;

class ExternalScalerTest : public ::testing::Test {
 protected:
  using Metadata = std::map<std::string, std::string>;

  static std::string object(const Metadata& metadata) {
    externalscaler::ScaledObjectRef reference;
    reference.set_name("model");
    reference.mutable_scaler_metadata()->insert(metadata.begin(), metadata.end());
    return reference.SerializeAsString();
  }
  static std::string metricsRequest(const Metadata& metadata, const std::string& metric) {
    externalscaler::GetMetricsRequest request;
    request.mutable_scaled_object_ref()->ParseFromString(object(metadata));
    request.set_metric_name(metric);
    return request.SerializeAsString();
  }
  bool active(const Metadata& metadata) const {
    externalscaler::IsActiveResponse response;
    EXPECT_TRUE(response.ParseFromString(scaler.answer(Call::kIsActive, object(metadata)).value()));
    return response.result();
  }
  externalscaler::MetricSpec spec(const Metadata& metadata) const {
    externalscaler::GetMetricSpecResponse response;
    EXPECT_TRUE(
        response.ParseFromString(scaler.answer(Call::kGetMetricSpec, object(metadata)).value()));
    EXPECT_EQ(response.metric_specs_size(), 1);
    return response.metric_specs(0);
  }
  externalscaler::MetricValue metric(const Metadata& metadata, const std::string& name) const {
    externalscaler::GetMetricsResponse response;
    EXPECT_TRUE(response.ParseFromString(
        scaler.answer(Call::kGetMetrics, metricsRequest(metadata, name)).value()));
    EXPECT_EQ(response.metric_values_size(), 1);
    return response.metric_values(0);
  }

  ScalerFigures figures{.settings = {.concurrency_target = 4, .autoscaling = {}}};
  ScalerFigures others;
  ExternalScaler scaler{{{.name = "m", .figures = [this] { return figures; }},
                         {.name = "team/other", .figures = [this] { return others; }}}};
};

TEST_F(ExternalScalerTest, KnowsItsMethodsByPath) {
  const auto method = [](std::string_view name) {
    return ExternalScaler::method(std::string("/externalscaler.ExternalScaler/").append(name));
  };
  EXPECT_EQ(method("IsActive")->call, Call::kIsActive);
  EXPECT_FALSE(method("IsActive")->stream);
  EXPECT_EQ(method("StreamIsActive")->call, Call::kIsActive);
  EXPECT_TRUE(method("StreamIsActive")->stream);
  EXPECT_EQ(method("StreamMetricSpec")->call, Call::kGetMetricSpec);
  EXPECT_TRUE(method("StreamMetricSpec")->stream);
  EXPECT_EQ(method("GetMetrics")->call, Call::kGetMetrics);
  EXPECT_FALSE(method("Scale"));
  EXPECT_FALSE(method(""));
  EXPECT_FALSE(ExternalScaler::method("/grpc.health.v1.Health/Check"));
}

TEST_F(ExternalScalerTest, DemandIsTheMeanAndItsTargetWhatAReplicaIsToCarry) {
  figures.demand = 6.25;
  const auto value = metric({{"cluster", "m"}}, "penstock-demand");
  EXPECT_EQ(value.metric_name(), "penstock-demand");
  EXPECT_EQ(value.metric_value_float(), 6.25);
  EXPECT_EQ(value.metric_value(), 7);
  const auto target = spec({{"cluster", "m"}, {"metric", "demand"}});
  EXPECT_EQ(target.metric_name(), "penstock-demand");
  EXPECT_DOUBLE_EQ(target.target_size_float(), 2.8);
  EXPECT_EQ(target.target_size(), 2);
}

// The HPA's formula for an average value gives what the policy's own gives.
TEST_F(ExternalScalerTest, DemandOverItsTargetIsTheNumberOfReplicas) {
  for (const double demand : {0.1, 2.7, 2.9, 25.0, 1000.5}) {
    figures.demand = demand;
    EXPECT_EQ(std::ceil(metric({{"cluster", "m"}}, "").metric_value_float() /
                        spec({{"cluster", "m"}}).target_size_float()),
              replicasFor(demand, figures.settings));
  }
}

TEST_F(ExternalScalerTest, ATargetBelowOneIsOneForWhoReadsWholeNumbers) {
  figures.settings = {.concurrency_target = 1, .autoscaling = {.target_utilization = 70}};
  EXPECT_DOUBLE_EQ(spec({{"cluster", "m"}}).target_size_float(), 0.7);
  EXPECT_EQ(spec({{"cluster", "m"}}).target_size(), 1);
}

TEST_F(ExternalScalerTest, DesiredIsTheNumberItself) {
  figures.desired = 3;
  const ExternalScalerTest::Metadata metadata{{"cluster", "m"}, {"metric", "desired"}};
  EXPECT_EQ(metric(metadata, "penstock-desired").metric_value(), 3);
  EXPECT_EQ(metric(metadata, "penstock-desired").metric_value_float(), 3);
  EXPECT_EQ(spec(metadata).metric_name(), "penstock-desired");
  EXPECT_EQ(spec(metadata).target_size_float(), 1);
  EXPECT_EQ(spec(metadata).target_size(), 1);
}

TEST_F(ExternalScalerTest, ActiveWhileThereIsDemandOrSomebodyWaits) {
  EXPECT_FALSE(active({{"cluster", "m"}}));
  figures.waiting = true;  // since this moment: no mean knows of it yet
  EXPECT_TRUE(active({{"cluster", "m"}}));
  EXPECT_TRUE(active({{"cluster", "m"}, {"metric", "desired"}}));
  figures.waiting = false;
  figures.demand = 0.001;
  EXPECT_TRUE(active({{"cluster", "m"}}));
  EXPECT_FALSE(active({{"cluster", "m"}, {"metric", "desired"}}));
  figures.desired = 1;
  EXPECT_TRUE(active({{"cluster", "m"}, {"metric", "desired"}}));
  EXPECT_FALSE(active({{"cluster", "team/other"}}));
}

TEST_F(ExternalScalerTest, SaysWhatIsWrongWithATrigger) {
  const auto refused = [&](Call call, const std::string& request) {
    return scaler.answer(call, request).error();
  };
  const std::pair<Metadata, std::pair<int, const char*>> mistakes[] = {
      {{}, {3, "metadata.cluster"}},
      {{{"cluster", ""}}, {3, "metadata.cluster"}},
      {{{"cluster", "n"}}, {5, "no cluster \"n\""}},
      {{{"cluster", "m"}, {"metric", "queue"}}, {3, "expected demand or desired, got \"queue\""}},
  };
  for (const auto& [metadata, said] : mistakes) {
    for (const Call call : {Call::kIsActive, Call::kGetMetricSpec, Call::kGetMetrics}) {
      const auto refusal = refused(
          call, call == Call::kGetMetrics ? metricsRequest(metadata, "") : object(metadata));
      EXPECT_EQ(std::to_underlying(refusal.grpc_status), said.first);
      EXPECT_THAT(refusal.message, HasSubstr(said.second));
    }
  }
  const auto other =
      refused(Call::kGetMetrics, metricsRequest({{"cluster", "m"}}, "penstock-desired"));
  EXPECT_EQ(other.grpc_status, http::GrpcStatus::kInvalidArgument);
  EXPECT_THAT(other.message, HasSubstr("expected penstock-demand"));
}

TEST_F(ExternalScalerTest, RefusesWhatIsNoMessage) {
  for (const Call call : {Call::kIsActive, Call::kGetMetricSpec, Call::kGetMetrics}) {
    EXPECT_EQ(scaler.answer(call, "\x0f\xff\xff").error().grpc_status,
              http::GrpcStatus::kInvalidArgument);
  }
}

}  // namespace
}  // namespace penstock::proxy
