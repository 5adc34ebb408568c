#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "net/http/headers.h"
#include "net/http/http1_parser.h"
#include "net/http/limits.h"

namespace penstock::http {

// How a body is delimited.
struct Http1Framing {
  enum class Kind { kNone, kLength, kChunked, kUntilClose };
  Kind kind = Kind::kNone;
  std::uint64_t length = 0;  // kLength
};

struct Http1Request {
  RequestHead head;
  Http1Framing framing;
  bool http10 = false;
  bool keep_alive = true;
  bool expects_continue = false;
  std::string websocket_key;  // not empty: asks for a WebSocket
};

struct Http1Response {
  ResponseHead head;
  Http1Framing framing;
  bool keep_alive = true;
  bool upgrades_to_websocket = false;  // says so; whether it may is up to the reader
};

// What a complete header block means, judged strictly: framing that two parsers could read
// differently is refused, the target and Host must agree, hop-by-hop fields are taken out, and so
// is what the head says in members (host, content-length, "expect: 100-continue"). An upgrade to
// WebSocket becomes a request for one (RequestHead::isWebSocket). Pure.
std::expected<Http1Request, Http1Error> readRequest(std::string_view block, const Limits& limits,
                                                    bool tls);
// to_head: the answer to a HEAD request, which has no body.
std::expected<Http1Response, Http1Error> readResponse(std::string_view block, const Limits& limits,
                                                      bool to_head);
// Fields that describe framing or routing are an error in a trailer section; others that belong
// into a head are left out.
std::expected<Headers, Http1Error> readTrailers(std::string_view block, const Limits& limits);

}  // namespace penstock::http
