#include "net/http/http1_writer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string>

#include "net/http/field_rules.h"
#include "net/http/http1_fields.h"
#include "net/http/websocket.h"

namespace penstock::http {
namespace {

struct Phrase {
  int status;
  std::string_view text;
};

constexpr auto kPhrases = std::to_array<Phrase>({
    {100, "Continue"},
    {101, "Switching Protocols"},
    {103, "Early Hints"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {411, "Length Required"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {499, "Client Closed Request"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
});

void appendNumber(std::string& text, std::uint64_t number, int base = 10) {
  std::array<char, 20> digits;
  const auto result = std::to_chars(digits.data(), digits.data() + digits.size(), number, base);
  text.append(digits.data(), result.ptr);
}

// Bytes that could end a request line, or that a target never has, are percent-encoded.
void appendTarget(std::string& text, std::string_view target) {
  for (const char c : target) {
    if (c > ' ' && c < 0x7f && c != '#') [[likely]] {
      text += c;
    } else {
      static constexpr std::string_view kDigits = "0123456789ABCDEF";
      const auto byte = static_cast<unsigned char>(c);
      text += '%';
      text += kDigits[byte >> 4];
      text += kDigits[byte & 15];
    }
  }
}

std::size_t sizeOf(const Headers& headers) {
  std::size_t size = 0;
  for (const Headers::Field field : headers) {
    size += field.name.size() + field.value.size() + 4;
  }
  return size;
}

// The fields that pass on to the next hop.
class FieldWriter {
 public:
  // websocket: the handshake's own fields are written apart.
  explicit FieldWriter(const Headers& headers, bool websocket = false)
      : headers_(headers), websocket_(websocket) {
    has_connection_ = headers.has("connection");
  }

  void write(std::string& text, bool request) const {
    for (const Headers::Field field : headers_) {
      if (passes(field, request)) {
        text += field.name;
        text += ": ";
        text += field.value;
        text += "\r\n";
      }
    }
  }

 private:
  bool passes(const Headers::Field& field, bool request) const {
    if (isHopByHop(field.name) || field.name == "content-length") {
      return false;
    }
    // The proxy answers "expect: 100-continue" itself, having read the body.
    if (request && (field.name == "host" ||
                    (field.name == "expect" && equalsIgnoreCase(field.value, "100-continue")))) {
      return false;
    }
    if (websocket_ && isWebSocketHandshakeField(field.name)) {
      return false;
    }
    if (has_connection_ && !isEndToEnd(field.name) && isNamedByConnection(field.name)) {
      return false;
    }
    return mayWriteField(field.name, field.value);
  }

  bool isNamedByConnection(std::string_view name) const {
    for (const Headers::Field field : headers_) {
      if (field.name == "connection" && listHas(field.value, name)) {
        return true;
      }
    }
    return false;
  }

  const Headers& headers_;
  bool websocket_;
  bool has_connection_ = false;
};

void appendStatusLine(std::string& text, int status) {
  text += "HTTP/1.1 ";
  appendNumber(text, static_cast<std::uint64_t>(std::clamp(status, 100, 999)));
  text += ' ';
  text += reasonPhrase(status);
  text += "\r\n";
}

void appendLength(std::string& text, std::uint64_t length) {
  text += "content-length: ";
  appendNumber(text, length);
  text += "\r\n";
}

constexpr std::string_view kUpgrade = "connection: upgrade\r\nupgrade: websocket\r\n";

// Ends the block.
void appendHandshake(std::string& text, std::string_view name, std::string_view value) {
  text += kUpgrade;
  text += name;
  text += ": ";
  text += value;
  text += "\r\n\r\n";
}

}  // namespace

bool Http1Writer::beginResponse(net::Buffer& out, const ResponseHead& head,
                                const ResponseOptions& options) {
  std::string text;
  text.reserve(192 + sizeOf(head.headers));
  if (!options.websocket_key.empty() && head.status == 200) {
    appendStatusLine(text, 101);
    FieldWriter(head.headers, true).write(text, false);
    appendHandshake(text, "sec-websocket-accept", webSocketAccept(options.websocket_key));
    out.append(text);
    beginTunnel();
    return false;
  }
  appendStatusLine(text, head.status);
  FieldWriter(head.headers).write(text, false);
  bool keep_alive = options.keep_alive;
  body_ = Body::kNone;
  remaining_ = 0;
  if (options.to_head || head.status == 304 || head.status == 204) {
    if (head.content_length.has_value() && head.status != 204) {
      appendLength(text, *head.content_length);
    }
  } else if (options.end_stream) {
    appendLength(text, 0);
  } else if (head.content_length.has_value()) {
    body_ = Body::kLength;
    remaining_ = *head.content_length;
    appendLength(text, remaining_);
  } else if (!options.http10) {
    body_ = Body::kChunked;
    text += "transfer-encoding: chunked\r\n";
  } else {
    body_ = Body::kUntilClose;
    keep_alive = false;
  }
  if (!keep_alive) {
    text += "connection: close\r\n";
  } else if (options.http10) {
    text += "connection: keep-alive\r\n";
  }
  text += "\r\n";
  out.append(text);
  return keep_alive;
}

void Http1Writer::writeInformational(net::Buffer& out, int status, const Headers& headers) {
  std::string text;
  appendStatusLine(text, status);
  FieldWriter(headers).write(text, false);
  text += "\r\n";
  out.append(text);
}

void Http1Writer::beginRequest(net::Buffer& out, const RequestHead& head, bool end_stream,
                               std::string_view host, std::string_view websocket_key) {
  std::string text;
  text.reserve(128 + head.path.size() + head.authority.size() + sizeOf(head.headers));
  const bool websocket = !websocket_key.empty();
  const std::string_view method = websocket ? std::string_view("GET") : head.method;
  text += isMethod(method) ? method : "INVALID";
  text += ' ';
  appendTarget(text, head.path);
  text += " HTTP/1.1\r\nhost: ";
  text += isAuthority(head.authority) ? std::string_view(head.authority) : host;
  text += "\r\n";
  FieldWriter(head.headers, websocket).write(text, true);
  body_ = Body::kNone;
  remaining_ = 0;
  if (websocket) {
    text += "sec-websocket-version: 13\r\n";
    appendHandshake(text, "sec-websocket-key", websocket_key);
    out.append(text);
    return;
  }
  if (end_stream) {
    const bool expects_body =
        head.method == "POST" || head.method == "PUT" || head.method == "PATCH";
    if (head.content_length.has_value() || expects_body) {
      appendLength(text, 0);
    }
  } else if (head.content_length.has_value()) {
    body_ = Body::kLength;
    remaining_ = *head.content_length;
    appendLength(text, remaining_);
  } else {
    body_ = Body::kChunked;
    text += "transfer-encoding: chunked\r\n";
  }
  text += "\r\n";
  out.append(text);
}

bool Http1Writer::writeData(net::Buffer& out, net::Buffer& data, bool end) {
  const std::size_t size = data.size();
  switch (body_) {
    case Body::kNone:
      data.clear();
      return true;
    case Body::kLength: {
      const auto fits = static_cast<std::size_t>(std::min<std::uint64_t>(size, remaining_));
      remaining_ -= fits;
      if (fits == size) {
        out.append(data);
        return !end || remaining_ == 0;
      }
      data.moveTo(out, fits);
      data.clear();
      return false;
    }
    case Body::kUntilClose:
      out.append(data);
      return true;
    case Body::kChunked:
      break;
  }
  if (size > 0) {
    std::string line;
    appendNumber(line, size, 16);
    line += "\r\n";
    out.append(line);
    out.append(data);
  }
  if (end) {
    out.append(std::string_view(size > 0 ? "\r\n0\r\n\r\n" : "0\r\n\r\n"));
  } else if (size > 0) {
    out.append(std::string_view("\r\n"));
  }
  return true;
}

bool Http1Writer::writeTrailers(net::Buffer& out, const Headers& trailers) {
  if (body_ != Body::kChunked) {
    return body_ != Body::kLength || remaining_ == 0;
  }
  std::string text = "0\r\n";
  FieldWriter(trailers).write(text, true);
  text += "\r\n";
  out.append(text);
  return true;
}

std::string_view reasonPhrase(int status) {
  const auto* const found = std::ranges::lower_bound(kPhrases, status, {}, &Phrase::status);
  return found != kPhrases.end() && found->status == status ? found->text : std::string_view();
}

}  // namespace penstock::http
