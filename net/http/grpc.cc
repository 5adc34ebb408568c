#include "net/http/grpc.h"

#include <string>
#include <utility>

#include "net/http/field_rules.h"

namespace penstock::http {

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

bool isGrpcStatus(std::string_view text, GrpcStatus status) {
  return text == std::to_string(std::to_underlying(status));
}

}  // namespace penstock::http
