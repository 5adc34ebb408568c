#pragma once

#include <string_view>

namespace penstock::proxy {

// Whether a path leads to what a sidecar serves for the proxy and the operator (/health/…,
// /metrics, /penstock/…, load reports) without the route saying so. prefix: of the route that
// matches the path. A route says so if its prefix is, or lies below, /health, /metrics, /penstock
// or the load report service, and the path stays below the prefix.
//
// The path is read as any server might read it: with or without percent-decoding (also of slashes,
// also repeated), without empty and dot segments. Upper and lower case differ, as they do to a
// sidecar. "/health" alone is an ordinary path.
bool isHiddenPath(std::string_view path, std::string_view prefix);

}  // namespace penstock::proxy
