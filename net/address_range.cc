#include "net/address_range.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <optional>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

namespace penstock::net {
namespace {

using Bytes = std::array<std::uint8_t, 16>;

constexpr int kBits = 128;
constexpr int kMappedBits = 96;  // in front of an IPv4 address

Bytes mapped(const in_addr& v4) {
  Bytes bytes{};
  bytes[10] = bytes[11] = 0xff;
  std::memcpy(bytes.data() + kMappedBits / 8, &v4, sizeof v4);
  return bytes;
}

std::optional<Bytes> bytesOf(const Address& address) {
  Bytes bytes{};
  switch (address.sockaddrPointer()->sa_family) {
    case AF_INET:
      return mapped(reinterpret_cast<const sockaddr_in*>(address.sockaddrPointer())->sin_addr);
    case AF_INET6:
      std::memcpy(bytes.data(),
                  &reinterpret_cast<const sockaddr_in6*>(address.sockaddrPointer())->sin6_addr,
                  bytes.size());
      return bytes;
    default:
      return std::nullopt;
  }
}

// All bits behind the first ones are zero.
Bytes cut(Bytes bytes, int bits) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const int kept = std::clamp(bits - 8 * static_cast<int>(i), 0, 8);
    bytes[i] = static_cast<std::uint8_t>(bytes[i] & (0xff00 >> kept));
  }
  return bytes;
}

std::string textOf(const Bytes& bytes, int bits) {
  std::array<char, INET6_ADDRSTRLEN> text;
  const bool is_v4 = bits >= kMappedBits && cut(bytes, kMappedBits) == mapped(in_addr{});
  inet_ntop(is_v4 ? AF_INET : AF_INET6, bytes.data() + (is_v4 ? kMappedBits / 8 : 0), text.data(),
            text.size());
  return fmt::format("{}/{}", text.data(), is_v4 ? bits - kMappedBits : bits);
}

}  // namespace

Result<AddressRange> AddressRange::parse(std::string_view text) {
  const auto wrong = [text] {
    return failure(
        fmt::format("expected addresses like 10.0.0.0/8, fd00::/8 or 10.0.0.1, got \"{}\"", text));
  };
  const std::size_t slash = text.find('/');
  const std::string host(text.substr(0, slash));
  AddressRange range;
  in_addr v4{};
  const bool is_v4 = inet_pton(AF_INET, host.c_str(), &v4) == 1;
  if (is_v4) {
    range.prefix_ = mapped(v4);
  } else if (inet_pton(AF_INET6, host.c_str(), range.prefix_.data()) != 1) {
    return wrong();
  }
  range.bits_ = kBits;
  if (slash != std::string_view::npos) {
    const std::string_view length = text.substr(slash + 1);
    const int most = is_v4 ? kBits - kMappedBits : kBits;
    int bits = -1;
    const auto [end, error] = std::from_chars(length.data(), length.data() + length.size(), bits);
    if (error != std::errc() || end != length.data() + length.size() || bits < 0 || bits > most) {
      return wrong();
    }
    range.bits_ = bits + kBits - most;
  }
  if (const Bytes meant = cut(range.prefix_, range.bits_); meant != range.prefix_) {
    return failure(fmt::format("expected no bits behind the prefix; {} is in {}", text,
                               textOf(meant, range.bits_)));
  }
  return range;
}

bool AddressRange::contains(const Address& address) const {
  const auto bytes = bytesOf(address);
  return bytes && cut(*bytes, bits_) == prefix_;
}

std::string AddressRange::toString() const {
  return textOf(prefix_, bits_);
}

}  // namespace penstock::net
