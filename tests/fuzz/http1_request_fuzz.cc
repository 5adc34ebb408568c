// Requests: whatever the bytes, and however they are cut, the verdict is the same, what is accepted
// is clean, and written again it is read as the same request.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "net/http/field_rules.h"
#include "net/http/http1_fields.h"
#include "net/http/http1_writer.h"
#include "tests/net/http/http1_messages.h"

namespace penstock::http {
namespace {

Limits smallLimits() {
  Limits limits;
  limits.max_header_bytes = 2048;
  limits.max_header_fields = 20;
  limits.max_path_bytes = 200;
  limits.max_chunks = 20;
  limits.max_chunk_extension_bytes = 20;
  return limits;
}

void checkFields(const Headers& headers) {
  for (const Headers::Field field : headers) {
    PENSTOCK_CHECK(isFieldName(field.name), "field names are tokens in lower case");
    PENSTOCK_CHECK(isFieldValue(field.value), "field values hold no control character");
    PENSTOCK_CHECK(!isHopByHop(field.name), "hop-by-hop fields are taken out");
    PENSTOCK_CHECK(field.name != "host" && field.name != "content-length",
                   "what the head says is not said again");
  }
}

void checkRequest(const ReadMessage& message, const Limits& limits) {
  const RequestHead& head = message.request;
  PENSTOCK_CHECK(isMethod(head.method), "the method is a token");
  PENSTOCK_CHECK(head.path == "*" || isOriginForm(head.path), "the path is in origin form");
  PENSTOCK_CHECK(head.path.size() <= limits.max_path_bytes, "the path is within its limit");
  PENSTOCK_CHECK(head.authority.empty() || isAuthority(head.authority), "the host is a host");
  PENSTOCK_CHECK(head.headers.size() <= limits.max_header_fields, "fields are counted");
  PENSTOCK_CHECK((head.method == "CONNECT") == !message.websocket_key.empty() &&
                     head.isWebSocket() == !message.websocket_key.empty(),
                 "CONNECT is what a WebSocket is asked for with, and nothing else");
  checkFields(head.headers);
  checkFields(message.trailers);
}

// Written by our writer, the request must be read as it was.
void checkRoundTrip(const ReadMessage& message, const Limits& limits) {
  if (!message.complete || message.request.authority.empty()) {
    return;
  }
  net::Buffer out;
  Http1Writer writer;
  const bool end = message.body.empty() && message.trailers.empty();
  writer.beginRequest(out, message.request, end, "fallback", message.websocket_key);
  if (!end) {
    net::Buffer data;
    data.append(message.body);
    PENSTOCK_CHECK(writer.writeData(out, data, false), "the body fits its declared length");
    PENSTOCK_CHECK(writer.writeTrailers(out, message.trailers), "the body is complete");
  }
  const ReadMessages again = readMessages(out.toString(), limits, true);
  PENSTOCK_CHECK(
      !again.error.has_value() || again.error->why == ServerConnection::Rejection::kHeadersTooLarge,
      "what is written is accepted, unless framing has made it too large");
  if (again.error.has_value()) {
    return;
  }
  PENSTOCK_CHECK(again.messages.size() == 1 && again.messages[0].complete, "one request is one");
  const ReadMessage& copy = again.messages[0];
  PENSTOCK_CHECK(copy.request.method == message.request.method &&
                     copy.websocket_key == message.websocket_key &&
                     copy.request.path == message.request.path &&
                     copy.request.authority == message.request.authority &&
                     copy.request.headers.size() == message.request.headers.size() &&
                     copy.body == message.body,
                 "what is written is read as it was");
}

}  // namespace
}  // namespace penstock::http

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace penstock::http;
  const Limits limits = smallLimits();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const ReadMessages whole = readMessages(text, limits, true);
  const std::size_t piece = size == 0 ? 1 : 1 + data[size - 1] % 5;
  const ReadMessages cut = readMessages(text, limits, true, piece);
  PENSTOCK_CHECK(whole.error.has_value() == cut.error.has_value(), "cutting changes no verdict");
  PENSTOCK_CHECK(whole.messages.size() == cut.messages.size(), "cutting changes no message");
  for (std::size_t i = 0; i < whole.messages.size(); ++i) {
    PENSTOCK_CHECK(whole.messages[i].body == cut.messages[i].body, "cutting changes no body");
    PENSTOCK_CHECK(whole.messages[i].complete == cut.messages[i].complete, "nor its end");
    checkRequest(whole.messages[i], limits);
    checkRoundTrip(whole.messages[i], limits);
  }
  return 0;
}
