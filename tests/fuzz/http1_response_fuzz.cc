// Responses, after any request and after HEAD: whatever the bytes, and however they are cut, the
// verdict is the same, and what is accepted is clean.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "net/http/field_rules.h"
#include "net/http/http1_fields.h"
#include "tests/net/http/http1_messages.h"

namespace penstock::http {
namespace {

void checkFields(const Headers& headers) {
  for (const Headers::Field field : headers) {
    PENSTOCK_CHECK(isFieldName(field.name), "field names are tokens in lower case");
    PENSTOCK_CHECK(isFieldValue(field.value), "field values hold no control character");
    PENSTOCK_CHECK(!isHopByHop(field.name), "hop-by-hop fields are taken out");
  }
}

void check(std::string_view text, bool to_head, std::size_t piece) {
  Limits limits;
  limits.max_header_bytes = 2048;
  limits.max_header_fields = 20;
  limits.max_chunks = 20;
  limits.max_chunk_extension_bytes = 20;
  const ReadMessages whole = readMessages(text, limits, false, std::string_view::npos, to_head);
  const ReadMessages cut = readMessages(text, limits, false, piece, to_head);
  PENSTOCK_CHECK(whole.error.has_value() == cut.error.has_value(), "cutting changes no verdict");
  PENSTOCK_CHECK(whole.messages.size() == cut.messages.size(), "cutting changes no message");
  for (std::size_t i = 0; i < whole.messages.size(); ++i) {
    const ReadMessage& message = whole.messages[i];
    PENSTOCK_CHECK(message.body == cut.messages[i].body, "cutting changes no body");
    PENSTOCK_CHECK(message.complete == cut.messages[i].complete, "nor its end");
    PENSTOCK_CHECK(message.response.status >= 100 && message.response.status <= 599,
                   "the status is one of HTTP's");
    PENSTOCK_CHECK(!to_head || message.body.empty(), "an answer to HEAD has no body");
    checkFields(message.response.headers);
    checkFields(message.trailers);
  }
}

}  // namespace
}  // namespace penstock::http

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t piece = size == 0 ? 1 : 1 + data[size - 1] % 5;
  penstock::http::check(text, false, piece);
  penstock::http::check(text, true, piece);
  return 0;
}
