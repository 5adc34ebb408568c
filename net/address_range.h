#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "net/address.h"

namespace penstock::net {

// The addresses that share a prefix, as CIDR writes them. An IPv4 address that comes in an IPv6
// socket (::ffff:10.0.0.1) is the IPv4 address. A value.
class AddressRange {
 public:
  // "10.0.0.0/8", "fd00::/8", or one address: "10.0.0.1", "::1". No bit may be set behind the
  // prefix.
  static Result<AddressRange> parse(std::string_view text);

  bool contains(const Address& address) const;
  // "10.0.0.0/8", "::1/128".
  std::string toString() const;

 private:
  using Bytes = std::array<std::uint8_t, 16>;  // IPv4: mapped into IPv6

  Bytes prefix_{};
  int bits_ = 0;  // of the 128
};

}  // namespace penstock::net
