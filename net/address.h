#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <sys/socket.h>

#include "base/result.h"

namespace penstock::net {

// An IPv4 or IPv6 address with a port. A value.
class Address {
 public:
  // "127.0.0.1:80", "[::1]:80", "localhost:80" (resolved to loopback without DNS); no other names.
  static Result<Address> parse(std::string_view text);
  static Address fromSockaddr(const sockaddr* address, socklen_t size);
  static Address loopback(std::uint16_t port);

  const sockaddr* sockaddrPointer() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t size() const { return size_; }
  std::uint16_t port() const;
  bool isLoopback() const;
  // "127.0.0.1:80", "[::1]:80".
  std::string toString() const;
  // Without the port: "127.0.0.1", "::1".
  std::string host() const;

 private:
  sockaddr_storage storage_{};
  socklen_t size_ = 0;
};

}  // namespace penstock::net
