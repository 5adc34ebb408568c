#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace penstock::examples {

// RFC 4648 §4: the alphabet with + and /, padded.
std::string encodeBase64(std::string_view bytes);
// Absent if text is anything else: no line breaks, no missing padding, no stray bits.
std::optional<std::string> decodeBase64(std::string_view text);

}  // namespace penstock::examples
