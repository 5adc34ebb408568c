#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/http/grpc.h"
#include "proxy/scaling/desired_replicas.h"

namespace penstock::proxy {

// What an external scaler tells of one cluster.
struct ScalerFigures {
  double demand = 0;          // requests waiting or in flight, mean over the window
  std::uint32_t desired = 0;  // replicas that this proxy's own policy wants
  bool waiting = false;       // somebody waits now
  ScalingSettings settings;
};

struct ScaledCluster {
  std::string name;
  std::function<ScalerFigures()> figures;
};

// KEDA's external scaler without its transport: a message in, a message out. The metadata of a
// trigger name the cluster and which metric it wants. "demand" adds up over proxies, its target is
// what one replica is to carry; "desired" is a number of replicas, its target is 1. Loop thread
// only.
class ExternalScaler {
 public:
  enum class Call : std::uint8_t { kIsActive, kGetMetricSpec, kGetMetrics };
  struct Method {
    Call call;
    // The answer comes again whenever it has changed.
    bool stream;
  };
  struct Refusal {
    http::GrpcStatus grpc_status;
    std::string message;
  };

  explicit ExternalScaler(std::vector<ScaledCluster> clusters);

  // By the path of a gRPC request.
  static std::optional<Method> method(std::string_view path);
  // The serialized answer to a serialized request; the same request may be answered again.
  std::expected<std::string, Refusal> answer(Call call, const std::string& request) const;

 private:
  const std::vector<ScaledCluster> clusters_;
};

}  // namespace penstock::proxy
