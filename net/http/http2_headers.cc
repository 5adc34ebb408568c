#include "net/http/http2_headers.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/check.h"
#include "net/http/field_rules.h"
#include "net/http/grpc.h"
#include "net/http/websocket.h"

namespace penstock::http {

namespace {

using Rejection = ServerConnection::Rejection;

// RFC 9113 §6.5.2: what a field costs beside its text.
constexpr std::size_t kFieldOverhead = 32;

// RFC 9113 §8.2.3.
constexpr std::string_view kCrumbSeparator = "; ";

// What nghttp2, and with it most peers, can decode as one name or value. A longer one would end the
// connection with all its streams.
constexpr std::size_t kLongestString = 64 * 1024;

std::size_t fieldBytes(std::size_t name, std::size_t value) {
  const bool decodable = name <= kLongestString && value <= kLongestString;
  return decodable ? name + value + kFieldOverhead : kUnsendable;
}

std::optional<std::uint64_t> parseLength(std::string_view text) {
  std::uint64_t length = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
  if (error != std::errc{} || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return length;
}

std::uint8_t* bytes(std::string_view text) {
  return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));
}

nghttp2_nv pair(std::string_view name, std::string_view value, std::uint8_t flags) {
  return nghttp2_nv{.name = bytes(name),
                    .value = bytes(value),
                    .namelen = name.size(),
                    .valuelen = value.size(),
                    .flags = flags};
}

// Of so many blocks one puts the names of such fields into the table, from which they drop out as
// others come.
constexpr std::uint32_t kShowNamesEvery = 64;

// Fields that never repeat would only push those that do out of the compression table.
bool isNewEachTime(std::string_view name, std::string_view value) {
  switch (name.size()) {
    case 11:
      return name == "traceparent";
    case 12:
      return name == "x-request-id" || name == "grpc-timeout";
    case 20:
      // Long ones come in whole seconds (the proxy's default is the same each time).
      return name == "x-request-timeout-ms" && !value.ends_with("000");
    case 21:
      return name == "x-penstock-attempt-id";
    default:
      return false;
  }
}

}  // namespace

void Http2FieldBlock::begin() {
  headers_ = Headers();
  bytes_ = 0;
  fields_ = 0;
  too_large_ = false;
  invalid_ = false;
}

bool Http2FieldBlock::count(std::string_view name, std::string_view value) {
  bytes_ += name.size() + value.size() + kFieldOverhead;
  fields_ += name.front() == ':' ? 0 : 1;
  return withinLimits();
}

bool Http2FieldBlock::countMore(std::string_view value) {
  bytes_ += value.size() + kCrumbSeparator.size();
  return withinLimits();
}

bool Http2FieldBlock::withinLimits() {
  if (bytes_ > limits_.max_header_bytes || fields_ > limits_.max_header_fields) {
    too_large_ = true;
  }
  return !too_large_;
}

void Http2FieldBlock::add(std::string_view name, std::string_view value) {
  if (count(name, value)) {
    headers_.add(name, value);
  }
}

void Http2RequestBlock::begin() {
  fields_.begin();
  head_ = RequestHead();
  // Not clear(): a connection does not keep the room of its largest request.
  host_ = std::string();
  cookie_.reset();
  has_host_ = false;
  path_too_long_ = false;
  expects_continue_ = false;
}

void Http2RequestBlock::add(std::string_view name, std::string_view value) {
  const bool crumb = cookie_.has_value() && name == "cookie";
  if (!(crumb ? fields_.countMore(value) : fields_.count(name, value))) {
    // Told apart from other large blocks even if it is the path alone that is too large.
    path_too_long_ = path_too_long_ || (name == ":path" && value.size() > limits_.max_path_bytes);
    return;
  }
  if (name.front() == ':') {
    addPseudo(name, value);
  } else if (name == "host") {
    has_host_ = true;
    host_ = value;
  } else if (name == "cookie") {
    if (!crumb || cookie_->empty()) {
      cookie_ = value;
    } else {
      cookie_->append(kCrumbSeparator).append(value);
    }
  } else if (name == "content-length") {
    head_.content_length = parseLength(value);
    if (!head_.content_length) {
      fields_.addInvalid();
    }
  } else if (name == "expect" && equalsIgnoreCase(value, "100-continue")) {
    // Between this client and us; whoever is asked next gets the body with the request.
    expects_continue_ = true;
  } else {
    fields_.headers().add(name, value);
  }
}

void Http2RequestBlock::addPseudo(std::string_view name, std::string_view value) {
  if (name == ":path") {
    path_too_long_ = value.size() > limits_.max_path_bytes;
    head_.path = value;
  } else if (name == ":method") {
    head_.method = value;
  } else if (name == ":scheme") {
    head_.scheme = value;
  } else if (name == ":authority") {
    head_.authority = value;
  } else if (name == ":protocol") {
    head_.protocol = value;
  } else {
    fields_.addInvalid();
  }
}

std::optional<Http2Refusal> Http2RequestBlock::finish() {
  if (auto refusal = check()) {
    refusal->is_grpc = isGrpc(fields_.headers());
    begin();
    return refusal;
  }
  if (head_.authority.empty()) {
    head_.authority = std::move(host_);
  }
  if (head_.isWebSocket()) {
    removeWebSocketHandshake(fields_.headers());
  }
  if (cookie_.has_value() && !cookie_->empty()) {
    fields_.headers().add("cookie", *std::exchange(cookie_, std::nullopt));
  }
  head_.headers = std::move(fields_.headers());
  return std::nullopt;
}

std::optional<Http2Refusal> Http2RequestBlock::check() const {
  if (path_too_long_) {
    return Http2Refusal{Rejection::kUriTooLong, "the path is too long"};
  }
  if (fields_.tooLarge()) {
    return Http2Refusal{Rejection::kHeadersTooLarge, "the header fields are too large or too many"};
  }
  if (fields_.invalid()) {
    return Http2Refusal{Rejection::kBadRequest, "a header field is malformed"};
  }
  if (!head_.protocol.empty() && head_.method == "CONNECT") {
    if (auto refusal = checkWebSocket()) {
      return refusal;
    }
  } else if (!head_.protocol.empty()) {
    return Http2Refusal{Rejection::kBadRequest, ":protocol is for CONNECT only"};
  } else if (head_.method == "CONNECT" || head_.method == "TRACE") {
    return Http2Refusal{Rejection::kMethodNotAllowed, "CONNECT and TRACE are not served"};
  }
  if (!isMethod(head_.method)) {
    return Http2Refusal{Rejection::kBadRequest, "the method is malformed"};
  }
  if (head_.scheme != "http" && head_.scheme != "https") {
    return Http2Refusal{Rejection::kBadRequest, "the scheme is neither http nor https"};
  }
  if (!isOriginForm(head_.path) && !(head_.path == "*" && head_.method == "OPTIONS")) {
    return Http2Refusal{Rejection::kBadRequest, "the path is malformed"};
  }
  if (has_host_ && !head_.authority.empty() &&
      !sameAuthority(host_, head_.authority, head_.scheme)) {
    return Http2Refusal{Rejection::kMisdirected, "host and :authority differ"};
  }
  if (!isAuthority(head_.authority.empty() ? host_ : head_.authority)) {
    return Http2Refusal{Rejection::kBadRequest, "the authority is malformed"};
  }
  return std::nullopt;
}

std::optional<Http2Refusal> Http2RequestBlock::checkWebSocket() const {
  if (!head_.isWebSocket()) {
    return Http2Refusal{Rejection::kNotImplemented, "the only :protocol is websocket"};
  }
  if (head_.content_length) {
    return Http2Refusal{Rejection::kBadRequest, "a WebSocket has no content-length"};
  }
  if (fields_.headers().get("sec-websocket-version").value_or(kTakenWebSocketVersion) !=
      kTakenWebSocketVersion) {
    return Http2Refusal{Rejection::kWebSocketVersion, "expected sec-websocket-version: 13"};
  }
  return std::nullopt;
}

void Http2ResponseBlock::begin() {
  fields_.begin();
  head_ = ResponseHead();
  head_.status = 0;
}

void Http2ResponseBlock::add(std::string_view name, std::string_view value) {
  if (!fields_.count(name, value)) {
    return;
  }
  if (name == ":status") {
    const auto status = parseLength(value);
    head_.status = status && *status < 1000 ? static_cast<int>(*status) : 0;
  } else if (name == "content-length") {
    head_.content_length = parseLength(value);
  } else {
    fields_.headers().add(name, value);
  }
}

std::optional<ResponseHead> Http2ResponseBlock::finish() {
  if (fields_.tooLarge() || fields_.invalid() || head_.status < 100) {
    return std::nullopt;
  }
  head_.headers = std::move(fields_.headers());
  return std::move(head_);
}

std::size_t headerListBytes(const Headers& headers) {
  constexpr std::size_t kStatusAndLength = 128;
  std::size_t bytes = kStatusAndLength;
  for (const auto [name, value] : headers) {
    bytes += fieldBytes(name.size(), value.size());
  }
  return bytes;
}

Http2FieldList::Http2FieldList(Http2FieldRoom& room)
    : list_(room.list), shows_names_(room.blocks++ % kShowNamesEvery == 0) {
  list_.clear();
}

void Http2FieldList::addConstant(std::string_view name, std::string_view value) {
  list_.push_back(pair(name, value, NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE));
}

void Http2FieldList::addNamed(std::string_view name, std::string_view value) {
  list_.push_back(pair(name, value, NGHTTP2_NV_FLAG_NO_COPY_NAME));
}

void Http2FieldList::add(std::string_view name, std::string_view value) {
  const bool keep_out = isNewEachTime(name, value) && !shows_names_;
  list_.push_back(pair(name, value, keep_out ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE));
}

void Http2FieldList::addHeaders(const Headers& headers, bool websocket) {
  for (const auto [name, value] : headers) {
    if (isHopByHopField(name) || name == "host" || name == "content-length" ||
        (name == "te" && value != "trailers") || (websocket && isWebSocketHandshakeField(name)) ||
        !mayWriteField(name, value)) {
      continue;
    }
    add(name, value);
  }
}

void Http2FieldList::addContentLength(std::optional<std::uint64_t> length, const Headers& headers) {
  if (!length) {
    const auto text = headers.get("content-length");
    length = text ? parseLength(*text) : std::nullopt;
  }
  if (length) {
    const auto [end, error] = std::to_chars(length_, length_ + sizeof length_, *length);
    addNamed("content-length", std::string_view(length_, end));
  }
}

std::size_t Http2FieldList::bytes() const {
  std::size_t bytes = 0;
  for (const nghttp2_nv& field : list_) {
    bytes += fieldBytes(field.namelen, field.valuelen);
  }
  return bytes;
}

void Http2FieldList::addStatus(int status) {
  PENSTOCK_CHECK(status >= 100 && status <= 999, "a status has three digits");
  if (status == 200) {
    addConstant(":status", "200");
    return;
  }
  std::to_chars(status_, status_ + sizeof status_, status);
  addNamed(":status", std::string_view(status_, sizeof status_));
}

bool isWritableRequestLine(std::string_view method, std::string_view scheme,
                           std::string_view authority, std::string_view path) {
  return isMethod(method) && (scheme == "http" || scheme == "https") && isAuthority(authority) &&
         (isOriginForm(path) || (path == "*" && method == "OPTIONS"));
}

}  // namespace penstock::http
