#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/config/config.h"

namespace penstock::proxy {

// The routes of one listener. Among the routes whose host matches, the longest prefix wins; between
// equal prefixes the more precise host. A prefix is compared byte by byte, as Envoy does: "/v1"
// covers "/v10". A sidecar's internal paths (see isHiddenPath) have no route unless one names them.
// Immutable, thread-safe.
class RouteTable {
 public:
  // clusters: the configuration's, which the routes name.
  RouteTable(const std::vector<RouteConfig>& routes, const std::vector<ClusterConfig>& clusters);

  struct Match {
    const RouteConfig* route;   // null: no route
    std::size_t cluster_index;  // in clusters
  };
  // authority: with or without a port, any case. path: with or without a query.
  Match match(std::string_view authority, std::string_view path) const;

 private:
  struct Entry {
    std::string host;  // empty: any; ".example.com": any name that ends so
    Match target;
  };
  // Owned copies, then entries sorted so that the first match is the best.
  std::vector<RouteConfig> routes_;
  std::vector<Entry> entries_;
};

}  // namespace penstock::proxy
