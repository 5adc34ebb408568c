#pragma once

#include <string_view>

#include "net/http/headers.h"

namespace penstock::proxy {

// What the fields of a message may say on their way between a client and a replica.

// Where a request came from, as the proxy itself sees it.
struct Origin {
  std::string_view peer;    // "10.0.0.1"
  bool is_trusted = false;  // one of trusted_proxies: it says more of the client than we see
  bool is_tls = false;
};

// Writes where the request came from into the fields by which replicas read it.
//
// x-forwarded-for: every line that came, in order, and then the peer. x-forwarded-proto, -host,
// -port, x-real-ip and forwarded: of a trusted peer they stay, and forwarded gets one element more;
// of any other those that came are replaced by what is true here. x-forwarded-proto is there in any
// case. A name with "_" that a replica may read as one of these or as another of the proxy's own
// (x_forwarded_for) is taken out, whoever sent it, and so is what only proxy and sidecar say to
// each other.
void setOrigin(http::RequestHead& head, const Origin& origin);

// Takes fields out of a trailer section that the proxy itself sets in a head, under either form of
// their names. (What frames, routes or authenticates does not come out of the codec.)
void removeOwnFields(http::Headers& trailers);

}  // namespace penstock::proxy
