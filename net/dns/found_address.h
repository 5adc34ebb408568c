#pragma once

#include <cstdint>
#include <string>

#include "net/address.h"

namespace penstock::net {

// raw: an in_addr or in6_addr, by the family. IPv4 where it is that in truth.
Address foundAddress(int family, const void* raw, std::uint16_t port);

// Why no server can be reached there, for a person; empty if one can be.
std::string whyNoServer(const Address& address);

}  // namespace penstock::net
