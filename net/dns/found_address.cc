#include "net/dns/found_address.h"

#include <cstring>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace penstock::net {
namespace {

std::string whyNoServerV4(std::uint32_t ip) {
  if (ip >> 24 == 0) {
    return "no host";
  }
  if (IN_MULTICAST(ip)) {
    return "multicast";
  }
  return ip == INADDR_BROADCAST ? "broadcast" : "";
}

std::string whyNoServerV6(const in6_addr& ip) {
  if (IN6_IS_ADDR_UNSPECIFIED(&ip)) {
    return "no host";
  }
  if (IN6_IS_ADDR_MULTICAST(&ip)) {
    return "multicast";
  }
  // A name cannot say which link.
  return IN6_IS_ADDR_LINKLOCAL(&ip) ? "of one link" : "";
}

}  // namespace

Address foundAddress(int family, const void* raw, std::uint16_t port) {
  const auto* bytes = static_cast<const std::uint8_t*>(raw);
  in6_addr as_v6{};
  std::memcpy(&as_v6, raw, family == AF_INET ? sizeof(in_addr) : sizeof as_v6);
  if (family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&as_v6)) {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    v6.sin6_addr = as_v6;
    return Address::fromSockaddr(reinterpret_cast<const sockaddr*>(&v6), sizeof v6);
  }
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  std::memcpy(&v4.sin_addr, bytes + (family == AF_INET ? 0 : 12), sizeof v4.sin_addr);
  return Address::fromSockaddr(reinterpret_cast<const sockaddr*>(&v4), sizeof v4);
}

std::string whyNoServer(const Address& address) {
  const sockaddr* raw = address.sockaddrPointer();
  if (address.port() == 0) {
    return "port 0";
  }
  return raw->sa_family == AF_INET6
             ? whyNoServerV6(reinterpret_cast<const sockaddr_in6*>(raw)->sin6_addr)
             : whyNoServerV4(ntohl(reinterpret_cast<const sockaddr_in*>(raw)->sin_addr.s_addr));
}

}  // namespace penstock::net
