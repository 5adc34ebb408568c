#include "sidecar/upstream/forwarding.h"

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "net/http/grpc.h"
#include "sidecar/route.h"

namespace penstock::sidecar {
namespace {

bool isRead(std::string_view method) {
  return method == "GET" || method == "HEAD";
}

// "*" stands for any characters. Linear but for the last "*": what an earlier one took is settled.
bool matches(std::string_view pattern, std::string_view text) {
  std::size_t p = 0;
  std::size_t t = 0;
  std::size_t after_star = std::string_view::npos;
  std::size_t retry_at = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      after_star = ++p;
      retry_at = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (after_star != std::string_view::npos) {
      p = after_star;
      t = ++retry_at;
    } else {
      return false;
    }
  }
  return std::ranges::all_of(pattern.substr(p), [](char c) { return c == '*'; });
}

bool countsByMethod(const http::RequestHead& head, const UpstreamModel::GatePattern& pattern) {
  if (!pattern.method.empty()) {
    return head.method == pattern.method;
  }
  return head.method == "POST" || head.method == "PUT" || head.method == "PATCH" ||
         head.isWebSocket();
}

// "/v1/models/{any}", "/v1/models/{any}/loaded".
bool isModelPath(std::string_view path) {
  constexpr std::string_view kPrefix = "/v1/models/";
  if (!path.starts_with(kPrefix)) {
    return false;
  }
  path.remove_prefix(kPrefix.size());
  if (constexpr std::string_view kLoaded = "/loaded"; path.ends_with(kLoaded)) {
    path.remove_suffix(kLoaded.size());
  }
  return !path.empty() && !path.contains('/');
}

// The endpoint that the path stands for, or nothing.
std::string_view endpointOf(const http::RequestHead& head, const UpstreamModel& model) {
  const std::string path = routedPath(head.path);
  if (isPredictRoute(path)) {
    return model.predict_endpoint;
  }
  if (asksForLiveness(head, model)) {
    return model.liveness_endpoint;
  }
  return isRead(head.method) && isModelPath(path) ? std::string_view(model.readiness_endpoint)
                                                  : std::string_view();
}

}  // namespace

bool asksForLiveness(const http::RequestHead& head, const UpstreamModel& model) {
  return isRead(head.method) && withoutQuery(head.path) == "/" && !model.liveness_endpoint.empty();
}

Forwarding forwardingOf(const http::RequestHead& head, const UpstreamModel& model) {
  Forwarding result{.path = head.path,
                    .streamed = head.isWebSocket() || http::isGrpc(head.headers)};
  const std::string_view endpoint = endpointOf(head, model);
  if (!endpoint.empty()) {
    const std::string_view query =
        std::string_view(head.path).substr(withoutQuery(head.path).size());
    result.path = std::string(endpoint).append(query);
  }
  // With a slash at its end it is the same to many servers, and would be a way past the gate.
  const std::string path = decodedPath(result.path);
  const std::string routed = routedPath(result.path);
  const bool is_predict = !endpoint.empty() && isPredictPath(head.path) && !isRead(head.method);
  result.gated = is_predict || std::ranges::any_of(model.gate, [&](const auto& pattern) {
                   return countsByMethod(head, pattern) &&
                          (matches(pattern.path, path) || matches(pattern.path, routed));
                 });
  return result;
}

}  // namespace penstock::sidecar
