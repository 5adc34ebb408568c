#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace penstock {

// Appends text as a JSON string literal, quotes included. What comes out is always valid UTF-8 on
// one line: control characters (C0, DEL, C1) and the separators U+2028 and U+2029, at which some
// readers end a line, become \u escapes, and each maximal ill-formed UTF-8 sequence becomes one
// U+FFFD, as browsers do.
void appendJsonString(std::string& out, std::string_view text);

// The same without the quotes.
void appendJsonEscaped(std::string& out, std::string_view text);

// Bytes at the end of text that begin a character and wait for the rest of it: 0 to 3.
std::size_t unfinishedUtf8(std::string_view text);

// The longest prefix of text of at most max_bytes that does not end inside a UTF-8 sequence.
std::string_view utf8Prefix(std::string_view text, std::size_t max_bytes);

}  // namespace penstock
