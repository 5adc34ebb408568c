#pragma once

#include <string>
#include <string_view>

namespace penstock {

// Appends text as a JSON string literal, quotes included. What comes out is always valid UTF-8 on
// one line: control characters (C0, DEL, C1) become \u escapes, and each maximal ill-formed UTF-8
// sequence becomes one U+FFFD, as browsers do.
void appendJsonString(std::string& out, std::string_view text);

// The same without the quotes.
void appendJsonEscaped(std::string& out, std::string_view text);

// The longest prefix of text of at most max_bytes that does not end inside a UTF-8 sequence.
std::string_view utf8Prefix(std::string_view text, std::size_t max_bytes);

}  // namespace penstock
