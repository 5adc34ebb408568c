#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

// What HTTP/1 fields are made of: the alphabets of RFC 9110 §5 and RFC 9112, lists, and which
// fields belong to one hop. Pure functions, shared by reading and writing.
namespace penstock::http {

// One or more token characters, of either case.
bool isToken(std::string_view text);
// What may stand in a field's value or a chunk extension: no control character but HTAB.
bool isTextChar(char c);
std::string_view trimmed(std::string_view text);

// Digits only, and it fits: no sign, space, underscore or prefix.
std::optional<std::uint64_t> parseDecimal(std::string_view text);
// The value of a hexadecimal digit, or -1.
int hexDigit(char c);

// Whether a comma-separated list has the element; ASCII letters compare without case.
bool listHas(std::string_view list, std::string_view element);
// Takes the next non-empty element off the front of list; empty at the end.
std::string_view takeListElement(std::string_view& list);

// Fields that end at this connection (RFC 9110 §7.6.1), and those that describe a message's
// framing. name is in lower case.
bool isHopByHop(std::string_view name);
// Fields that "Connection" cannot turn into hop-by-hop ones: a client must not be able to strip
// what routing, framing or policy rests on. name may be of either case.
bool isEndToEnd(std::string_view name);

}  // namespace penstock::http
