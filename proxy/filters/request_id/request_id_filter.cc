#include "proxy/filters/request_id/request_id_filter.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>

namespace penstock::proxy {
namespace {

constexpr std::string_view kField = "x-request-id";
constexpr std::size_t kMaxSize = 128;

using HexPairs = std::array<std::array<char, 2>, 256>;

constexpr HexPairs makeHexPairs() {
  constexpr std::string_view kHex = "0123456789abcdef";
  HexPairs pairs{};
  for (std::size_t byte = 0; byte < pairs.size(); ++byte) {
    pairs[byte] = {kHex[byte >> 4], kHex[byte & 15]};
  }
  return pairs;
}

constexpr HexPairs kHexPairs = makeHexPairs();

// The lowest bytes of a number as hexadecimal digits; returns where they end.
template <int kBytes>
char* putHex(std::uint64_t number, char* at) {
#pragma GCC unroll 8
  for (int byte = kBytes - 1; byte >= 0; --byte) {
    at = std::ranges::copy(kHexPairs[(number >> (8 * byte)) & 0xff], at).out;
  }
  return at;
}

bool isUsable(std::string_view id) {
  return !id.empty() && id.size() <= kMaxSize &&
         std::ranges::all_of(id, [](char c) { return c > ' ' && c < 0x7f; });
}

std::optional<std::string_view> firstUsable(const http::Headers& headers) {
  if (!headers.has(kField)) {
    return std::nullopt;
  }
  for (const auto [name, value] : headers) {
    if (name == kField && isUsable(value)) {
      return value;
    }
  }
  return std::nullopt;
}

}  // namespace

UuidSource::UuidSource() {
  std::random_device device;
  std::seed_seq seed{device(), device(), device(), device()};
  random_.seed(seed);
}

Uuid UuidSource::next() {
  std::uint64_t high = random_();
  std::uint64_t low = random_();
  high = (high & ~0xf000ULL) | 0x4000;                     // version 4
  low = (low & ~(3ULL << 62)) | (std::uint64_t{2} << 62);  // variant 1
  Uuid uuid;
  char* at = putHex<4>(high >> 32, uuid.characters.data());
  for (const std::uint64_t group : {high >> 16, high, low >> 48}) {
    *at++ = '-';
    at = putHex<2>(group, at);
  }
  *at++ = '-';
  putHex<6>(low, at);
  return uuid;
}

FilterStatus RequestIdFilter::onRequestHead(http::RequestHead& head) {
  const auto usable = firstUsable(head.headers);
  if (!usable.has_value()) {
    head.headers.set(kField, source_.next().text());
  } else if (head.headers.count(kField) > 1) {
    head.headers.set(kField, std::string(*usable));
  }
  has_id_ = true;
  return FilterStatus::kContinue;
}

void RequestIdFilter::onResponseHead(http::ResponseHead& head) {
  if (!head.headers.has(kField)) {
    // A request that was refused before it got here has no id yet.
    http::Headers& request = exchange_.requestHead().headers;
    if (!has_id_) {
      onRequestHead(exchange_.requestHead());
    }
    head.headers.add(kField, *request.get(kField));
  }
}

}  // namespace penstock::proxy
