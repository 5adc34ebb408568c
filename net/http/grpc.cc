#include "net/http/grpc.h"

#include <string>
#include <utility>

#include "net/http/field_rules.h"

namespace penstock::http {
namespace {

// The encoding of a status message: all but printable ASCII, and '%', as %XX.
std::string percentEncoded(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string result;
  result.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte <= 0x7e && byte != '%') {
      result += c;
    } else {
      result += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return result;
}

}  // namespace

bool isGrpc(const Headers& headers) {
  const std::string_view type = headers.get("content-type").value_or("");
  if (!equalsIgnoreCase(type.substr(0, kGrpcContentType.size()), kGrpcContentType)) {
    return false;
  }
  const std::string_view rest = type.substr(kGrpcContentType.size());
  return rest.empty() || rest.front() == '+' || rest.front() == ';' || rest.front() == ' ';
}

void addGrpcStatus(Headers& headers, GrpcStatus status) {
  headers.add("grpc-status", std::to_string(std::to_underlying(status)));
}

void addGrpcStatus(Headers& headers, GrpcStatus status, std::string_view message) {
  addGrpcStatus(headers, status);
  headers.add("grpc-message", percentEncoded(message));
}

bool isGrpcStatus(std::string_view text, GrpcStatus status) {
  return text == std::to_string(std::to_underlying(status));
}

}  // namespace penstock::http
