#include "net/http/grpc_message.h"

#include <algorithm>
#include <limits>

#include "base/check.h"

namespace penstock::http {

void appendGrpcMessage(net::Buffer& body, std::string_view message) {
  PENSTOCK_CHECK(message.size() <= std::numeric_limits<std::uint32_t>::max(),
                 "a gRPC message has 32 bits of length");
  const auto size = static_cast<std::uint32_t>(message.size());
  const std::array<std::uint8_t, kGrpcPrefixBytes> prefix = {
      0, static_cast<std::uint8_t>(size >> 24U), static_cast<std::uint8_t>(size >> 16U),
      static_cast<std::uint8_t>(size >> 8U), static_cast<std::uint8_t>(size)};
  body.append(std::span<const std::uint8_t>(prefix));
  body.append(message);
}

bool GrpcMessageReader::readPrefix(std::span<const std::uint8_t>& bytes) {
  const std::size_t count = std::min(bytes.size(), prefix_.size() - prefix_size_);
  std::ranges::copy(bytes.first(count),
                    prefix_.begin() + static_cast<std::ptrdiff_t>(prefix_size_));
  prefix_size_ += count;
  bytes = bytes.subspan(count);
  if (prefix_size_ < prefix_.size()) {
    return false;
  }
  message_bytes_ = (std::size_t{prefix_[1]} << 24U) | (std::size_t{prefix_[2]} << 16U) |
                   (std::size_t{prefix_[3]} << 8U) | std::size_t{prefix_[4]};
  if (prefix_[0] != 0) {
    failed_ = Outcome::kCompressed;
  } else if (message_bytes_ > max_message_bytes_) {
    failed_ = Outcome::kTooLong;
  }
  return true;
}

GrpcMessageReader::Outcome GrpcMessageReader::read(std::span<const std::uint8_t>& bytes) {
  if (failed_ != Outcome::kMore) {
    return failed_;
  }
  if (prefix_size_ < prefix_.size()) {
    if (prefix_size_ == 0) {
      message_.clear();
    }
    if (!readPrefix(bytes)) {
      return Outcome::kMore;
    }
    if (failed_ != Outcome::kMore) {
      return failed_;
    }
  }
  const std::size_t count = std::min(bytes.size(), message_bytes_ - message_.size());
  message_.append(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
  bytes = bytes.subspan(count);
  if (message_.size() < message_bytes_) {
    return Outcome::kMore;
  }
  prefix_size_ = 0;
  return Outcome::kMessage;
}

}  // namespace penstock::http
