#include "net/http/stream.h"

namespace penstock::http {

std::string_view toString(StreamEnd end) {
  switch (end) {
    case StreamEnd::kComplete:
      return "complete";
    case StreamEnd::kPeerReset:
      return "peer_reset";
    case StreamEnd::kRefused:
      return "refused";
    case StreamEnd::kConnectionLost:
      return "connection_lost";
    case StreamEnd::kUnanswered:
      return "unanswered";
    case StreamEnd::kProtocolError:
      return "protocol_error";
    case StreamEnd::kTimeout:
      return "timeout";
    case StreamEnd::kTooLarge:
      return "too_large";
    case StreamEnd::kLocal:
      return "local";
  }
  return "unknown";
}

}  // namespace penstock::http
