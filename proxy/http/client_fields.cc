#include "proxy/http/client_fields.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "net/http/field_rules.h"

namespace penstock::proxy {
namespace {

constexpr std::string_view kFor = "x-forwarded-for";
constexpr std::string_view kProto = "x-forwarded-proto";
constexpr std::string_view kHost = "x-forwarded-host";
constexpr std::string_view kPort = "x-forwarded-port";
constexpr std::string_view kRealIp = "x-real-ip";
constexpr std::string_view kForwarded = "forwarded";

// Fields by which proxy and sidecar talk: never believed from outside.
constexpr std::array<std::string_view, 3> kInternalFields = {
    "x-penstock-attempt-id", "x-penstock-not-executed", "x-penstock-reason"};

constexpr std::array<std::string_view, 6> kOwnFields = {
    kForwarded,     kRealIp,
    "x-request-id", "x-request-timeout-ms",
    "grpc-timeout", "x-envoy-upstream-rq-timeout-ms"};

// name has no "_".
bool isOwn(std::string_view name) {
  return name.starts_with("x-forwarded-") || name.starts_with("x-penstock-") ||
         std::ranges::find(kOwnFields, name) != kOwnFields.end();
}

// A name as CGI and its heirs read it, to whom "_" and "-" are one.
std::string withDashes(std::string_view name) {
  std::string dashed(name);
  std::ranges::replace(dashed, '_', '-');
  return dashed;
}

template <typename Predicate>
void removeIf(http::Headers& headers, Predicate&& goes) {
  std::vector<std::string> names;
  for (const auto [name, value] : headers) {
    if (goes(name)) {
      names.emplace_back(name);
    }
  }
  for (const std::string& name : names) {
    headers.remove(name);
  }
}

// Every line, in order.
std::string joined(const http::Headers& headers, std::string_view name) {
  std::string list;
  for (const auto [field, value] : headers) {
    if (field == name && !value.empty()) {
      list.append(list.empty() ? "" : ", ").append(value);
    }
  }
  return list;
}

std::string_view portOf(std::string_view authority, bool is_tls) {
  const std::size_t colon = authority.rfind(':');
  const bool has_port =
      colon != std::string_view::npos && !authority.ends_with(']') && colon + 1 < authority.size();
  return has_port ? authority.substr(colon + 1) : is_tls ? "443" : "80";
}

// RFC 7239 §4: an address of IPv6 stands in brackets, and what is no token in quotes.
std::string nodeOf(std::string_view peer) {
  return peer.contains(':') ? "\"[" + std::string(peer) + "]\"" : std::string(peer);
}

std::string elementOf(const http::RequestHead& head, const Origin& origin) {
  std::string element = "for=" + nodeOf(origin.peer);
  if (!head.authority.empty()) {
    element += ";host=\"" + head.authority + "\"";
  }
  return element + (origin.is_tls ? ";proto=https" : ";proto=http");
}

// An empty value: nothing is known, so nothing is said.
void replace(http::Headers& headers, std::string_view name, std::string_view value) {
  if (headers.remove(name) > 0 && !value.empty()) {
    headers.add(name, value);
  }
}

}  // namespace

void setOrigin(http::RequestHead& head, const Origin& origin) {
  http::Headers& headers = head.headers;
  for (const std::string_view field : kInternalFields) {
    headers.remove(field);
  }
  removeIf(headers,
           [](std::string_view name) { return name.contains('_') && isOwn(withDashes(name)); });
  std::string chain = joined(headers, kFor);
  chain.append(chain.empty() ? "" : ", ").append(origin.peer);
  headers.set(kFor, chain);
  const std::string_view scheme = origin.is_tls ? "https" : "http";
  if (origin.is_trusted) {
    if (!headers.has(kProto)) {
      headers.add(kProto, scheme);
    }
    if (headers.has(kForwarded)) {
      headers.set(kForwarded, joined(headers, kForwarded) + ", " + elementOf(head, origin));
    }
    return;
  }
  headers.set(kProto, scheme);
  replace(headers, kHost, head.authority);
  replace(headers, kPort, portOf(head.authority, origin.is_tls));
  replace(headers, kRealIp, origin.peer);
  if (headers.has(kForwarded)) {
    headers.set(kForwarded, elementOf(head, origin));
  }
}

void removeOwnFields(http::Headers& trailers) {
  removeIf(trailers, [](std::string_view name) { return isOwn(withDashes(name)); });
}

}  // namespace penstock::proxy
