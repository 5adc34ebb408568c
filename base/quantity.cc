#include "base/quantity.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

#include "base/check.h"

namespace penstock {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t size;
};

constexpr std::array kDurations{Unit{"ns", 1},
                                Unit{"us", 1'000},
                                Unit{"ms", 1'000'000},
                                Unit{"s", 1'000'000'000},
                                Unit{"m", 60'000'000'000},
                                Unit{"h", 3'600'000'000'000}};
constexpr std::array kSizes{Unit{"B", 1}, Unit{"KiB", 1 << 10}, Unit{"MiB", 1 << 20},
                            Unit{"GiB", 1 << 30}};

template <typename T>
std::optional<T> parseDecimal(std::string_view text) {
  const std::string_view digits = text.starts_with('-') ? text.substr(1) : text;
  if (digits.empty() || digits[0] < '0' || digits[0] > '9' ||
      (digits[0] == '0' && digits.size() > 1)) {
    return std::nullopt;
  }
  T value{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end ? std::optional(value) : std::nullopt;
}

// In the smallest unit.
template <std::size_t N>
std::optional<std::uint64_t> parseWithUnit(std::string_view text,
                                           const std::array<Unit, N>& units) {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto count = parseUnsigned(text.substr(0, digits));
  const std::string_view name = text.substr(digits);
  for (const Unit& unit : units) {
    if (count && unit.name == name && *count <= UINT64_MAX / unit.size) {
      return *count * unit.size;
    }
  }
  return std::nullopt;
}

template <std::size_t N>
std::string withUnit(std::uint64_t count, const std::array<Unit, N>& units) {
  for (auto unit = units.rbegin(); unit != units.rend(); ++unit) {
    if (count != 0 && count % unit->size == 0) {
      return fmt::format("{}{}", count / unit->size, unit->name);
    }
  }
  return fmt::format("{}{}", count, units.front().name);
}

}  // namespace

std::optional<std::int64_t> parseInteger(std::string_view text) {
  return parseDecimal<std::int64_t>(text);
}

std::optional<std::uint64_t> parseUnsigned(std::string_view text) {
  return parseDecimal<std::uint64_t>(text);
}

std::optional<Duration> parseDuration(std::string_view text) {
  const auto nanoseconds = parseWithUnit(text, kDurations);
  if (!nanoseconds || *nanoseconds > static_cast<std::uint64_t>(Duration::max().count())) {
    return std::nullopt;
  }
  return Duration(static_cast<Duration::rep>(*nanoseconds));
}

std::optional<ByteSize> parseByteSize(std::string_view text) {
  const auto count = parseWithUnit(text, kSizes);
  return count ? std::optional(ByteSize{*count}) : std::nullopt;
}

std::string toString(Duration duration) {
  PENSTOCK_CHECK(duration >= Duration::zero(), "only durations that are not negative are printed");
  // "0ns" reads oddly.
  return duration == Duration::zero()
             ? "0s"
             : withUnit(static_cast<std::uint64_t>(duration.count()), kDurations);
}

std::string toString(ByteSize size) {
  return withUnit(size.count, kSizes);
}

}  // namespace penstock
