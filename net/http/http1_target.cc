#include "net/http/http1_target.h"

#include <algorithm>

#include "net/http/field_rules.h"

namespace penstock::http {
namespace {

using Rejection = ServerConnection::Rejection;

struct AbsoluteTarget {
  std::string_view scheme;
  std::string_view authority;
  std::string_view path;  // may be empty, or begin with '?'
};

std::optional<AbsoluteTarget> splitAbsolute(std::string_view target) {
  const std::size_t colon = target.find("://");
  if (colon == std::string_view::npos) {
    return std::nullopt;
  }
  const std::string_view scheme = target.substr(0, colon);
  if (!equalsIgnoreCase(scheme, "http") && !equalsIgnoreCase(scheme, "https")) {
    return std::nullopt;
  }
  const std::string_view rest = target.substr(colon + 3);
  const std::size_t end = std::min(rest.find_first_of("/?"), rest.size());
  return AbsoluteTarget{scheme, rest.substr(0, end), rest.substr(end)};
}

}  // namespace

std::expected<void, Http1Error> applyTarget(std::string_view target,
                                            const std::optional<std::string>& host, bool http10,
                                            std::size_t max_path_bytes, RequestHead& head) {
  if (!host.has_value() && !http10) {
    return http1Error(Rejection::kBadRequest, "no host field");
  }
  if (host.has_value() && !host->empty() && !isAuthority(*host)) {
    return http1Error(Rejection::kBadRequest, "malformed host field");
  }
  head.authority = host.value_or("");
  if (target == "*") {
    if (head.method != "OPTIONS") {
      return http1Error(Rejection::kBadRequest, "only OPTIONS has the target *");
    }
    head.path = target;
    return {};
  }
  if (target.starts_with('/')) {
    head.path = target;
  } else {
    const std::optional<AbsoluteTarget> absolute = splitAbsolute(target);
    if (!absolute.has_value() || !isAuthority(absolute->authority)) {
      return http1Error(Rejection::kBadRequest, "malformed request target");
    }
    head.authority = absolute->authority;
    head.path = absolute->path.starts_with('/') ? "" : "/";
    head.path += absolute->path;
  }
  if (head.path.size() > max_path_bytes) {
    return http1Error(Rejection::kUriTooLong, "path too long");
  }
  if (!isOriginForm(head.path)) {
    return http1Error(Rejection::kBadRequest, "malformed path");
  }
  return {};
}

}  // namespace penstock::http
