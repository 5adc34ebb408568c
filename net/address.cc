#include "net/address.h"

#include <array>
#include <charconv>
#include <cstring>
#include <optional>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include "base/check.h"

namespace penstock::net {

namespace {

std::optional<std::uint16_t> parsePort(std::string_view text) {
  std::uint16_t port = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, port);
  if (text.empty() || error != std::errc() || stop != end) {
    return std::nullopt;
  }
  return port;
}

}  // namespace

Result<Address> Address::parse(std::string_view text) {
  const auto wrong = [text] {
    return failure(fmt::format(
        "expected an address like 127.0.0.1:80, [::1]:80 or localhost:80, got \"{}\"", text));
  };
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) {
    return wrong();
  }
  const std::optional<std::uint16_t> port = parsePort(text.substr(colon + 1));
  std::string host(text.substr(0, colon));
  if (!port) {
    return wrong();
  }
  if (host == "localhost") {
    return loopback(*port);
  }
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(*port);
    if (inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &v6.sin6_addr) == 1) {
      return fromSockaddr(reinterpret_cast<const sockaddr*>(&v6), sizeof v6);
    }
    return wrong();
  }
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(*port);
  if (inet_pton(AF_INET, host.c_str(), &v4.sin_addr) != 1) {
    return wrong();
  }
  return fromSockaddr(reinterpret_cast<const sockaddr*>(&v4), sizeof v4);
}

Address Address::fromSockaddr(const sockaddr* address, socklen_t size) {
  PENSTOCK_CHECK(size <= sizeof(sockaddr_storage), "a socket address fits its storage");
  Address result;
  std::memcpy(&result.storage_, address, size);
  result.size_ = size;
  return result;
}

Address Address::loopback(std::uint16_t port) {
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return fromSockaddr(reinterpret_cast<const sockaddr*>(&v4), sizeof v4);
}

std::uint16_t Address::port() const {
  switch (storage_.ss_family) {
    case AF_INET:
      return ntohs(reinterpret_cast<const sockaddr_in*>(&storage_)->sin_port);
    case AF_INET6:
      return ntohs(reinterpret_cast<const sockaddr_in6*>(&storage_)->sin6_port);
    default:
      return 0;
  }
}

bool Address::isLoopback() const {
  const std::string text = host();
  return text.starts_with("127.") || text == "::1";
}

std::string Address::toString() const {
  const std::string text = host();
  return text.contains(':') ? fmt::format("[{}]:{}", text, port())
                            : fmt::format("{}:{}", text, port());
}

std::string Address::host() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (storage_.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage_);
    inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
  } else if (storage_.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage_);
    // An IPv4 peer of an IPv6 socket is shown as what it is.
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
      inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], text.data(), text.size());
    } else {
      inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());
    }
  } else {
    return "unknown";
  }
  return text.data();
}

}  // namespace penstock::net
