#include "proxy/http/route_table.h"

#include <algorithm>
#include <tuple>

#include "base/check.h"
#include "proxy/http/hidden_paths.h"

namespace penstock::proxy {
namespace {

// Without the port and a trailing dot, in lower case.
std::string hostOf(std::string_view authority) {
  if (authority.starts_with('[')) {
    authority = authority.substr(0, authority.find(']') + 1);
  } else {
    authority = authority.substr(0, authority.find(':'));
  }
  if (authority.ends_with('.')) {
    authority.remove_suffix(1);
  }
  std::string host(authority);
  std::ranges::transform(host, host.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  });
  return host;
}

// 2: exactly this host, 1: a wildcard, 0: any.
int precision(std::string_view host) {
  return host.empty() ? 0 : host.starts_with('.') ? 1 : 2;
}

bool matchesHost(std::string_view pattern, std::string_view host) {
  switch (precision(pattern)) {
    case 0:
      return true;
    case 1:
      return host.size() > pattern.size() && host.ends_with(pattern);
    default:
      return host == pattern;
  }
}

}  // namespace

RouteTable::RouteTable(const std::vector<RouteConfig>& routes,
                       const std::vector<ClusterConfig>& clusters)
    : routes_(routes) {
  for (const RouteConfig& route : routes_) {
    const auto cluster = std::ranges::find(clusters, route.cluster, &ClusterConfig::name);
    PENSTOCK_CHECK(cluster != clusters.end(), "the loader accepts only routes to known clusters");
    const Match target{&route, static_cast<std::size_t>(cluster - clusters.begin())};
    if (route.hosts.empty()) {
      entries_.push_back({"", target});
    }
    for (const std::string& host : route.hosts) {
      entries_.push_back({host.starts_with("*.") ? host.substr(1) : hostOf(host), target});
    }
  }
  std::ranges::stable_sort(entries_, [](const Entry& a, const Entry& b) {
    return std::tuple(a.target.route->prefix.size(), precision(a.host), a.host.size()) >
           std::tuple(b.target.route->prefix.size(), precision(b.host), b.host.size());
  });
}

RouteTable::Match RouteTable::match(std::string_view authority, std::string_view path) const {
  std::string host;
  for (const Entry& entry : entries_) {
    if (!path.starts_with(entry.target.route->prefix)) {
      continue;
    }
    if (!entry.host.empty() && host.empty()) {
      host = hostOf(authority);
    }
    if (matchesHost(entry.host, host)) {
      return isHiddenPath(path, entry.target.route->prefix) ? Match{nullptr, 0} : entry.target;
    }
  }
  return {nullptr, 0};
}

}  // namespace penstock::proxy
