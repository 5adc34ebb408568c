#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/byte_size.h"
#include "base/clock.h"

// Numbers with and without units, as people write them. Parsing takes the whole text or nothing.
namespace penstock {

inline constexpr std::string_view kDurationUnits = "ns, us, ms, s, m, h";
inline constexpr std::string_view kByteUnits = "B, KiB, MiB, GiB";

// Decimal without a plus sign, leading zeros (which others read as octal), or separators.
std::optional<std::int64_t> parseInteger(std::string_view text);
std::optional<std::uint64_t> parseUnsigned(std::string_view text);

// A whole number directly followed by one of the units: "500ms", "64KiB".
std::optional<Duration> parseDuration(std::string_view text);
std::optional<ByteSize> parseByteSize(std::string_view text);

// With the largest unit that leaves a whole number; the parsers read it back. duration: not
// negative.
std::string toString(Duration duration);
std::string toString(ByteSize size);

}  // namespace penstock
