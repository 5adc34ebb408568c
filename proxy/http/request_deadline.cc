#include "proxy/http/request_deadline.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string_view>

#include <fmt/format.h>

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;

constexpr Duration kLong = 100s;

constexpr std::string_view kGrpcField = "grpc-timeout";
constexpr std::string_view kMillisecondFields[] = {"x-request-timeout-ms",
                                                   "x-envoy-upstream-rq-timeout-ms"};

// Up to max_digits digits and nothing else.
std::optional<std::int64_t> number(std::string_view text, std::size_t max_digits) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || text.size() > max_digits || text[0] == '-' || error != std::errc() ||
      end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

std::optional<Duration> unitOf(char c) {
  switch (c) {
    case 'H':
      return 1h;
    case 'M':
      return 1min;
    case 'S':
      return 1s;
    case 'm':
      return 1ms;
    case 'u':
      return 1us;
    case 'n':
      return 1ns;
    default:
      return std::nullopt;
  }
}

// Eight digits at most (gRPC over HTTP/2, "Timeout"); saturates at a year.
std::optional<Duration> grpcTimeout(std::string_view text) {
  constexpr Duration kYear = 24h * 365;
  const auto unit = text.empty() ? std::nullopt : unitOf(text.back());
  const auto count = text.empty() ? std::nullopt : number(text.substr(0, text.size() - 1), 8);
  if (!unit || !count) {
    return std::nullopt;
  }
  return *count > kYear / *unit ? kYear : *count * *unit;
}

bool mayHaveTimeout(const http::Headers& headers) {
  return headers.has(kGrpcField) ||
         std::ranges::any_of(kMillisecondFields, [&](auto name) { return headers.has(name); });
}

}  // namespace

Result<std::optional<Duration>> requestTimeout(const http::Headers& headers) {
  std::optional<Duration> shortest;
  const auto take = [&](Duration timeout) {
    shortest = shortest ? std::min(*shortest, timeout) : timeout;
  };
  if (!mayHaveTimeout(headers)) {
    return shortest;
  }
  for (const auto [name, value] : headers) {
    if (name == kGrpcField) {
      const auto timeout = grpcTimeout(value);
      if (!timeout) {
        return failure("grpc-timeout: expected one to eight digits and a unit of H, M, S, m, u, n");
      }
      take(*timeout);
    } else if (std::ranges::find(kMillisecondFields, name) != std::end(kMillisecondFields)) {
      const auto milliseconds = number(value, 12);
      if (!milliseconds) {
        return failure(fmt::format("{}: expected whole milliseconds", name));
      }
      take(*milliseconds * 1ms);
    }
  }
  return shortest;
}

void removeTimeouts(http::Headers& headers) {
  headers.remove(kGrpcField);
  for (const std::string_view field : kMillisecondFields) {
    headers.remove(field);
  }
}

void setRemainingTime(http::Headers& headers, Duration remaining) {
  // Rounded up: the replica must not give up before we do. Long times to the second, so that many
  // requests carry the same value, which HPACK then sends as one byte.
  const auto rounded = remaining > kLong ? std::chrono::ceil<std::chrono::seconds>(remaining)
                                         : std::chrono::ceil<std::chrono::milliseconds>(remaining);
  const auto milliseconds = rounded.count();
  headers.remove("x-envoy-upstream-rq-timeout-ms");
  headers.set("x-request-timeout-ms", fmt::to_string(milliseconds));
  if (headers.has(kGrpcField)) {
    // Eight digits of milliseconds are 27 hours; beyond, seconds.
    headers.set(kGrpcField,
                milliseconds < 100'000'000
                    ? fmt::format("{}m", milliseconds)
                    : fmt::format("{}S", std::min<std::int64_t>(milliseconds / 1000, 99'999'999)));
  }
}

}  // namespace penstock::proxy
