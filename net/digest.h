#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace penstock::net {

// Base64 of text's SHA-1, for protocols that are defined with it; it protects nothing.
std::string sha1Base64(std::string_view text);
// Base64 of so many bytes that nobody can guess.
std::string randomBase64(std::size_t count);

}  // namespace penstock::net
