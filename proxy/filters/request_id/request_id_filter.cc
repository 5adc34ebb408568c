#include "proxy/filters/request_id/request_id_filter.h"

#include <algorithm>
#include <array>

namespace penstock::proxy {
namespace {

constexpr std::string_view kField = "x-request-id";
constexpr std::size_t kMaxSize = 128;

bool isUsable(std::string_view id) {
  return !id.empty() && id.size() <= kMaxSize &&
         std::ranges::all_of(id, [](char c) { return c > ' ' && c < 0x7f; });
}

}  // namespace

UuidSource::UuidSource() {
  std::random_device device;
  std::seed_seq seed{device(), device(), device(), device()};
  random_.seed(seed);
}

std::string UuidSource::next() {
  constexpr char kHex[] = "0123456789abcdef";
  std::uint64_t high = random_();
  std::uint64_t low = random_();
  high = (high & ~0xf000ULL) | 0x4000;                     // version 4
  low = (low & ~(3ULL << 62)) | (std::uint64_t{2} << 62);  // variant 1
  std::string uuid(36, '-');
  std::size_t at = 0;
  for (int nibble = 0; nibble < 32; ++nibble) {
    if (nibble == 8 || nibble == 12 || nibble == 16 || nibble == 20) {
      ++at;
    }
    const std::uint64_t half = nibble < 16 ? high : low;
    uuid[at++] = kHex[(half >> (60 - 4 * (nibble % 16))) & 0xf];
  }
  return uuid;
}

FilterStatus RequestIdFilter::onRequestHead(http::RequestHead& head) {
  if (!isUsable(head.headers.get(kField).value_or(""))) {
    head.headers.set(kField, source_.next());
  }
  return FilterStatus::kContinue;
}

void RequestIdFilter::onResponseHead(http::ResponseHead& head) {
  if (!head.headers.has(kField)) {
    // A request that was refused before it got here has no id yet.
    http::Headers& request = exchange_.requestHead().headers;
    if (!isUsable(request.get(kField).value_or(""))) {
      request.set(kField, source_.next());
    }
    head.headers.add(kField, *request.get(kField));
  }
}

}  // namespace penstock::proxy
