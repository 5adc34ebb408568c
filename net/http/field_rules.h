#pragma once

#include <cstdint>
#include <string_view>

#include "net/http/headers.h"

namespace penstock::http {

// What a header field may look like, for every codec that reads or writes one.

// A token in lower case (RFC 9110 §5.6.2), not empty, no ':'.
bool isFieldName(std::string_view name);
// No control characters but tab (so no CR, LF, NUL); no space or tab at either end.
bool isFieldValue(std::string_view value);
// Fields that belong to one connection and are never passed on: connection, keep-alive,
// proxy-connection, transfer-encoding, upgrade, http2-settings. ("te" depends on its value.)
bool isHopByHopField(std::string_view name);

// Whether a field may stand in a trailer section: none that frames, routes, controls or
// authenticates a message, or says how to read its body, for a reader may have acted on the head
// already (RFC 9110 §6.5.1).
bool mayBeTrailer(std::string_view name);
// Takes the others out.
void removeHeadFields(Headers& trailers);

// Origin form as this proxy accepts it: begins with '/', only visible ASCII, no '#' and no '\'.
bool isOriginForm(std::string_view path);
// host[:port], the host a registered name, an IPv4 address or an IPv6 literal in brackets, not
// empty; no userinfo. No byte is left that another parser could take for the end of the host.
bool isAuthority(std::string_view authority);
// Whether two authorities name the same for a scheme, http or https: its default port says no more
// than none (RFC 9110 §4.2.3).
bool sameAuthority(std::string_view a, std::string_view b, std::string_view scheme);
// A method token (upper and lower case differ).
bool isMethod(std::string_view method);

// Whether a writer may send this field as it stands. If not, it leaves the field out, and that is
// counted: somebody behind us made a field that nobody should read.
bool mayWriteField(std::string_view name, std::string_view value);
// How many fields mayWriteField has kept back in this process. Thread-safe.
std::uint64_t unwritableFields();

bool equalsIgnoreCase(std::string_view a, std::string_view b);

}  // namespace penstock::http
