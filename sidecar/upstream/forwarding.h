#pragma once

#include <string>

#include "net/http/headers.h"
#include "sidecar/model_config.h"

namespace penstock::sidecar {

// How a request goes to the model server.
struct Forwarding {
  std::string path;       // there, with the query
  bool gated = false;     // it is inference: it needs a permit
  bool streamed = false;  // its body goes on as it comes: WebSocket, gRPC
};

// Pure. Paths are compared with a gate's patterns as the server understands them: decoded, without
// the query.
Forwarding forwardingOf(const http::RequestHead& head, const UpstreamModel& model);

// Asks whether the server lives, in Truss's way: GET /.
bool asksForLiveness(const http::RequestHead& head, const UpstreamModel& model);

}  // namespace penstock::sidecar
