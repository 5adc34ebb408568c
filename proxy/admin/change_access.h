#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "net/http/headers.h"
#include "proxy/admin/admin_pages.h"

// Who may change something through the admin server.
namespace penstock::proxy {

// The first line of a file: 16 to 256 printable characters without spaces.
Result<std::string> readToken(const std::string& file);

// Why a request for a change is refused, or nothing. A browser sends an origin with one: it must be
// the admin server's own, and the content type is one that no form can send. With a token the
// request must bring it (authorization: Bearer …); without one (empty) changes are for an admin
// server on loopback only.
std::optional<AdminPage> refuseChange(const http::RequestHead& head, bool loopback,
                                      std::string_view token);

}  // namespace penstock::proxy
