#include "sidecar/request_json.h"

#include <algorithm>

#include "base/json_escape.h"
#include "sidecar/route.h"

namespace penstock::sidecar {
namespace {

void appendLatin1(std::string& out, std::string_view bytes) {
  if (std::ranges::all_of(bytes, [](char c) { return static_cast<unsigned char>(c) < 0x80; })) {
    appendJsonString(out, bytes);
    return;
  }
  std::string utf8;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      utf8 += c;
    } else {
      utf8 += static_cast<char>(0xC0 | byte >> 6);
      utf8 += static_cast<char>(0x80 | (byte & 0x3F));
    }
  }
  appendJsonString(out, utf8);
}

void appendMember(std::string& out, std::string_view name, std::string_view value) {
  out += out.size() == 1 ? "\"" : ",\"";
  out += name;
  out += "\":";
  appendLatin1(out, value);
}

void appendAddress(std::string& out, std::string_view name, const net::Address& address) {
  out += ",\"";
  out += name;
  out += "\":[";
  appendJsonString(out, address.host());
  out += ',' + std::to_string(address.port()) + ']';
}

void appendField(std::string& out, std::string_view name, std::string_view value) {
  out += out.back() == '[' ? "[" : ",[";
  appendLatin1(out, name);
  out += ',';
  appendLatin1(out, value);
  out += ']';
}

}  // namespace

std::string requestJson(const http::RequestHead& head, std::string_view request_id,
                        const std::optional<Ends>& ends) {
  const std::string_view path = withoutQuery(head.path);
  std::string out = "{";
  out.reserve(512);
  appendMember(out, "request_id", request_id);
  appendMember(out, "method", head.method);
  appendMember(out, "scheme", head.scheme);
  appendMember(out, "path", path);
  appendMember(out, "query",
               path.size() < head.path.size() ? std::string_view(head.path).substr(path.size() + 1)
                                              : std::string_view());
  appendMember(out, "http_version", "1.1");
  if (ends.has_value()) {
    appendAddress(out, "client", ends->client);
    appendAddress(out, "server", ends->server);
  }
  out += ",\"headers\":[";
  appendField(out, "host", head.authority);
  if (head.content_length.has_value()) {
    appendField(out, "content-length", std::to_string(*head.content_length));
  }
  for (const auto& [name, value] : head.headers) {
    appendField(out, name, value);
  }
  out += "]}";
  return out;
}

}  // namespace penstock::sidecar
