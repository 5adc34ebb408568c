#pragma once

#include <cstdint>
#include <string_view>

#include "net/buffer.h"
#include "net/http/headers.h"

namespace penstock::http {

// Writes one message at a time, and is the second wall: whatever the head says, no CR, LF or NUL
// gets into a line, framing is computed here, and hop-by-hop fields, with those that "Connection"
// names, are left out.
class Http1Writer {
 public:
  struct ResponseOptions {
    bool end_stream = false;  // no body follows
    bool to_head = false;     // answers a HEAD request
    bool http10 = false;      // the client speaks HTTP/1.0: no chunks
    bool keep_alive = true;
    // Of a request for a WebSocket, which status 200 then accepts.
    std::string_view websocket_key = {};
  };

  // Whether the connection can be kept after the response (and the head says so).
  bool beginResponse(net::Buffer& out, const ResponseHead& head, const ResponseOptions& options);
  // 1xx.
  static void writeInformational(net::Buffer& out, int status, const Headers& headers);
  // host: used if the head has no (valid) authority. websocket_key: of a request for a WebSocket,
  // which has no body before beginTunnel().
  void beginRequest(net::Buffer& out, const RequestHead& head, bool end_stream,
                    std::string_view host, std::string_view websocket_key = {});
  // The WebSocket is accepted: from now on data is written as it is.
  void beginTunnel() { body_ = Body::kUntilClose; }
  // Takes everything out of data. False if data does not fit the declared length: what is too much
  // was dropped, what is missing makes the connection useless.
  bool writeData(net::Buffer& out, net::Buffer& data, bool end);
  // Ends the message; the trailers are written only if it is chunked. False as in writeData.
  bool writeTrailers(net::Buffer& out, const Headers& trailers);

 private:
  enum class Body { kNone, kLength, kChunked, kUntilClose };
  Body body_ = Body::kNone;
  std::uint64_t remaining_ = 0;
};

// "OK" for 200; empty for a status without a phrase here.
std::string_view reasonPhrase(int status);

}  // namespace penstock::http
