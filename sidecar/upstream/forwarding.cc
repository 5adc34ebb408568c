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

int hexDigit(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

std::string decoded(std::string_view path) {
  std::string result;
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (path[i] == '%' && i + 2 < path.size() && hexDigit(path[i + 1]) >= 0 &&
        hexDigit(path[i + 2]) >= 0) {
      result += static_cast<char>(hexDigit(path[i + 1]) * 16 + hexDigit(path[i + 2]));
      i += 2;
    } else {
      result += path[i];
    }
  }
  return result;
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
  const std::string_view path = withoutQuery(head.path);
  if (isPredictPath(path)) {
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
  const std::string path = decoded(withoutQuery(result.path));
  const bool is_predict = !endpoint.empty() && isPredictPath(head.path) && !isRead(head.method);
  result.gated = is_predict || std::ranges::any_of(model.gate, [&](const auto& pattern) {
                   return countsByMethod(head, pattern) && matches(pattern.path, path);
                 });
  return result;
}

}  // namespace penstock::sidecar
