#include "net/http/grpc_health.h"

#include <cstddef>
#include <cstdint>

namespace penstock::http {
namespace {

// Protobuf's wire types, in the low three bits of a field's key.
enum Wire : std::uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void appendVarint(std::string& text, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) {
    text += static_cast<char>(value | 0x80);
  }
  text += static_cast<char>(value);
}

// Takes it off the front of text.
std::optional<std::uint64_t> takeVarint(std::string_view& text) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64 && !text.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(text.front());
    text.remove_prefix(1);
    value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) {
      return value;
    }
  }
  return std::nullopt;
}

bool skip(std::string_view& text, std::uint64_t wire) {
  std::optional<std::uint64_t> size;
  switch (wire) {
    case kVarint:
      return takeVarint(text).has_value();
    case kFixed64:
      size = 8;
      break;
    case kFixed32:
      size = 4;
      break;
    case kBytes:
      size = takeVarint(text);
      break;
    default:
      break;
  }
  if (!size.has_value() || *size > text.size()) {
    return false;
  }
  text.remove_prefix(static_cast<std::size_t>(*size));
  return true;
}

}  // namespace

std::string_view toString(GrpcHealth health) {
  switch (health) {
    case GrpcHealth::kUnknown:
      return "UNKNOWN";
    case GrpcHealth::kServing:
      return "SERVING";
    case GrpcHealth::kNotServing:
      return "NOT_SERVING";
    case GrpcHealth::kServiceUnknown:
      break;
  }
  return "SERVICE_UNKNOWN";
}

std::string grpcHealthRequest(std::string_view service) {
  std::string message;
  if (!service.empty()) {
    appendVarint(message, (1 << 3) | kBytes);
    appendVarint(message, service.size());
    message += service;
  }
  return message;
}

std::optional<GrpcHealth> readGrpcHealthResponse(std::string_view message) {
  std::uint64_t status = 0;  // a field that is not there is zero
  while (!message.empty()) {
    const auto key = takeVarint(message);
    if (!key.has_value()) {
      return std::nullopt;
    }
    if (*key == ((1 << 3) | kVarint)) {
      const auto value = takeVarint(message);
      if (!value.has_value()) {
        return std::nullopt;
      }
      status = *value;
    } else if (!skip(message, *key & 7)) {
      return std::nullopt;
    }
  }
  // A value of a later version is none that we know.
  return status <= 3 ? static_cast<GrpcHealth>(status) : GrpcHealth::kUnknown;
}

}  // namespace penstock::http
