#include "net/http/http1_message.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "net/http/field_rules.h"
#include "net/http/http1_fields.h"
#include "net/http/http1_target.h"
#include "net/http/websocket.h"

namespace penstock::http {
namespace {

using Rejection = ServerConnection::Rejection;
using Verdict = Http1BlockSink::Verdict;

Verdict refuse(Rejection why, std::string detail) {
  return http1Error(why, std::move(detail));
}

// Sorts fields: those that speak of this hop into members, the rest into headers.
class FieldSorter {
 public:
  FieldSorter(Headers& headers, const Limits& limits) : headers_(headers), limits_(limits) {}

  Verdict add(std::string_view name, std::string_view value) {
    bytes_ += name.size() + value.size() + 32;
    if (bytes_ > limits_.max_header_bytes || ++fields_ > limits_.max_header_fields) {
      return refuse(Rejection::kHeadersTooLarge, "header fields too large or too many");
    }
    std::array<char, 64> small;
    std::string large;
    char* lowered = small.data();
    if (name.size() > small.size()) {
      large.resize(name.size());
      lowered = large.data();
    }
    std::ranges::transform(name, lowered, [](char c) {
      return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    return sort({lowered, name.size()}, value);
  }

  // Once all fields are known. Framing that could be read in two ways is refused.
  Verdict finish(bool http10) {
    if (has_coding_ && http10) {
      return refuse(Rejection::kBadRequest, "transfer-encoding in HTTP/1.0");
    }
    if (has_coding_ && length_.has_value()) {
      return refuse(Rejection::kBadRequest, "transfer-encoding with content-length");
    }
    for (std::string_view list = connection_, name = takeListElement(list); !name.empty();
         name = takeListElement(list)) {
      if (!isToken(name)) {
        return refuse(Rejection::kBadRequest, "connection names what is no field");
      }
      const bool is_option =
          equalsIgnoreCase(name, "close") || equalsIgnoreCase(name, "keep-alive");
      if (!is_option && !isEndToEnd(name)) {
        removeNamed(name);
      }
    }
    return {};
  }

  bool chunked() const { return has_coding_; }
  const std::optional<std::uint64_t>& length() const { return length_; }
  bool keepAlive(bool http10) const {
    return !listHas(connection_, "close") && (!http10 || listHas(connection_, "keep-alive"));
  }
  bool expectsContinue() const { return expects_continue_; }
  const std::optional<std::string>& host() const { return host_; }
  // The Upgrade field, if Connection names it.
  std::string_view upgrade() const {
    return listHas(connection_, "upgrade") ? std::string_view(upgrade_) : std::string_view();
  }

 private:
  Verdict sort(std::string_view name, std::string_view value) {
    if (name == "host") {
      if (host_.has_value()) {
        return refuse(Rejection::kBadRequest, "more than one host field");
      }
      host_ = value;
    } else if (name == "content-length") {
      return readLength(value);
    } else if (name == "transfer-encoding") {
      return readCoding(value);
    } else if (name == "connection") {
      connection_.append(connection_.empty() ? "" : ",").append(value);
    } else if (name == "upgrade") {
      upgrade_.append(upgrade_.empty() ? "" : ",").append(value);
    } else if (name == "expect" && equalsIgnoreCase(value, "100-continue")) {
      expects_continue_ = true;
    } else if (!isHopByHop(name)) {
      headers_.add(name, value);
    }
    return {};
  }

  Verdict readLength(std::string_view value) {
    if (length_.has_value()) {
      return refuse(Rejection::kBadRequest, "more than one content-length");
    }
    length_ = parseDecimal(value);
    if (!length_.has_value()) {
      return refuse(Rejection::kBadRequest, "content-length is no number");
    }
    return {};
  }

  Verdict readCoding(std::string_view value) {
    if (has_coding_) {
      return refuse(Rejection::kBadRequest, "more than one transfer-encoding");
    }
    has_coding_ = true;
    if (equalsIgnoreCase(value, "chunked")) {
      return {};
    }
    const std::size_t comma = value.rfind(',');
    const bool ends_chunked = comma != std::string_view::npos &&
                              equalsIgnoreCase(trimmed(value.substr(comma + 1)), "chunked") &&
                              !listHas(value.substr(0, comma), "chunked");
    return refuse(ends_chunked ? Rejection::kNotImplemented : Rejection::kBadRequest,
                  "transfer-encoding is not exactly chunked");
  }

  void removeNamed(std::string_view name) {
    std::string lowered(name);
    std::ranges::transform(lowered, lowered.begin(), [](char c) {
      return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    headers_.remove(lowered);
  }

  Headers& headers_;
  const Limits& limits_;
  std::size_t bytes_ = 0;
  std::size_t fields_ = 0;
  std::optional<std::string> host_;
  std::optional<std::uint64_t> length_;
  bool has_coding_ = false;
  bool expects_continue_ = false;
  std::string connection_;
  std::string upgrade_;
};

class RequestSink final : public Http1BlockSink {
 public:
  RequestSink(Http1Request& request, const Limits& limits)
      : fields(request.head.headers, limits), request_(request) {}

  Verdict onRequestLine(std::string_view method, std::string_view request_target,
                        bool http10) override {
    if (method == "CONNECT" || method == "TRACE") {
      return refuse(Rejection::kMethodNotAllowed, "CONNECT and TRACE are not served");
    }
    request_.head.method = method;
    request_.http10 = http10;
    target = request_target;
    return {};
  }
  Verdict onStatusLine(int, bool) override {
    return refuse(Rejection::kBadRequest, "not a request");
  }
  Verdict onField(std::string_view name, std::string_view value) override {
    return fields.add(name, value);
  }

  FieldSorter fields;
  std::string_view target;

 private:
  Http1Request& request_;
};

class ResponseSink final : public Http1BlockSink {
 public:
  ResponseSink(Http1Response& response, const Limits& limits)
      : fields(response.head.headers, limits), response_(response) {}

  Verdict onRequestLine(std::string_view, std::string_view, bool) override {
    return refuse(Rejection::kBadRequest, "not a response");
  }
  Verdict onStatusLine(int status, bool is_http10) override {
    if (status < 100 || status > 599) {
      return refuse(Rejection::kBadRequest, "status out of range");
    }
    response_.head.status = status;
    http10 = is_http10;
    return {};
  }
  Verdict onField(std::string_view name, std::string_view value) override {
    return fields.add(name, value);
  }

  FieldSorter fields;
  bool http10 = false;

 private:
  Http1Response& response_;
};

class TrailerSink final : public Http1BlockSink {
 public:
  TrailerSink(Headers& trailers, const Limits& limits) : fields_(trailers, limits) {}

  Verdict onRequestLine(std::string_view, std::string_view, bool) override { return {}; }
  Verdict onStatusLine(int, bool) override { return {}; }
  Verdict onField(std::string_view name, std::string_view value) override {
    for (const std::string_view forbidden :
         {"content-length", "transfer-encoding", "host", "connection", "authorization"}) {
      if (equalsIgnoreCase(name, forbidden)) {
        return refuse(Rejection::kBadRequest,
                      "a field that does not belong into a trailer section");
      }
    }
    return fields_.add(name, value);
  }

 private:
  FieldSorter fields_;
};

// The request that HTTP/1.1 makes with an upgrade, and HTTP/2 with CONNECT (RFC 8441).
Verdict takeWebSocket(Http1Request& request) {
  RequestHead& head = request.head;
  if (head.headers.count("sec-websocket-version") != 1 ||
      head.headers.get("sec-websocket-version") != kTakenWebSocketVersion) {
    return refuse(Rejection::kWebSocketVersion, "expected sec-websocket-version: 13");
  }
  if (head.method != "GET") {
    return refuse(Rejection::kBadRequest, "a WebSocket is asked for with GET");
  }
  const auto key = head.headers.get("sec-websocket-key");
  if (head.headers.count("sec-websocket-key") != 1 || !isWebSocketKey(*key)) {
    return refuse(Rejection::kBadRequest, "upgrade to websocket without a valid key");
  }
  request.websocket_key = *key;
  removeWebSocketHandshake(head.headers);
  head.method = "CONNECT";
  head.protocol = "websocket";
  head.content_length.reset();
  return {};
}

// The only upgrade that is made is one to WebSocket. Any other is ignored, body or not (RFC 9110
// §7.8): clients offer h2c on ordinary requests.
Verdict takeUpgrade(std::string_view upgrade, Http1Request& request) {
  if (!listHas(upgrade, "websocket") || request.http10) {
    return {};
  }
  if (request.framing.kind != Http1Framing::Kind::kNone) {
    return refuse(Rejection::kBadRequest, "upgrade to websocket with a body");
  }
  return takeWebSocket(request);
}

Http1Framing requestFraming(const FieldSorter& fields) {
  if (fields.chunked()) {
    return {Http1Framing::Kind::kChunked, 0};
  }
  const std::uint64_t length = fields.length().value_or(0);
  return {length > 0 ? Http1Framing::Kind::kLength : Http1Framing::Kind::kNone, length};
}

}  // namespace

std::expected<Http1Request, Http1Error> readRequest(std::string_view block, const Limits& limits,
                                                    bool tls) {
  Http1Request request;
  RequestSink sink(request, limits);
  Verdict verdict = parseRequestBlock(block, sink);
  if (verdict.has_value()) {
    verdict = sink.fields.finish(request.http10);
  }
  if (verdict.has_value()) {
    request.head.scheme = tls ? "https" : "http";
    verdict = applyTarget(sink.target, sink.fields.host(), request.http10, limits.max_path_bytes,
                          request.head);
  }
  if (!verdict.has_value()) {
    return std::unexpected(std::move(verdict.error()));
  }
  request.framing = requestFraming(sink.fields);
  if (!sink.fields.chunked()) {
    // Neither field means an empty body, and is then not declared.
    request.head.content_length = sink.fields.length();
  }
  request.keep_alive = sink.fields.keepAlive(request.http10);
  request.expects_continue = sink.fields.expectsContinue() && !request.http10 &&
                             request.framing.kind != Http1Framing::Kind::kNone;
  if (const Verdict upgrade = takeUpgrade(sink.fields.upgrade(), request); !upgrade.has_value()) {
    return std::unexpected(upgrade.error());
  }
  return request;
}

std::expected<Http1Response, Http1Error> readResponse(std::string_view block, const Limits& limits,
                                                      bool to_head) {
  Http1Response response;
  ResponseSink sink(response, limits);
  Verdict verdict = parseResponseBlock(block, sink);
  if (verdict.has_value()) {
    verdict = sink.fields.finish(sink.http10);
  }
  if (!verdict.has_value()) {
    return std::unexpected(std::move(verdict.error()));
  }
  const int status = response.head.status;
  response.keep_alive = sink.fields.keepAlive(sink.http10);
  response.upgrades_to_websocket = listHas(sink.fields.upgrade(), "websocket") && !sink.http10;
  if (status < 200 || status == 204) {
    return response;
  }
  if (!sink.fields.chunked()) {
    response.head.content_length = sink.fields.length();
  }
  if (to_head || status == 304) {
    return response;
  }
  if (sink.fields.chunked()) {
    response.framing.kind = Http1Framing::Kind::kChunked;
  } else if (!sink.fields.length().has_value()) {
    response.framing.kind = Http1Framing::Kind::kUntilClose;
    response.keep_alive = false;
  } else if (*sink.fields.length() > 0) {
    response.framing = {Http1Framing::Kind::kLength, *sink.fields.length()};
  }
  return response;
}

std::expected<Headers, Http1Error> readTrailers(std::string_view block, const Limits& limits) {
  Headers trailers;
  TrailerSink sink(trailers, limits);
  if (const Verdict verdict = parseTrailerBlock(block, sink); !verdict.has_value()) {
    return std::unexpected(verdict.error());
  }
  removeHeadFields(trailers);
  return trailers;
}

}  // namespace penstock::http
