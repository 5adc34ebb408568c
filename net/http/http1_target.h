#pragma once

#include <cstddef>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "net/http/headers.h"
#include "net/http/http1_parser.h"

namespace penstock::http {

// Puts a request's target and Host (if there is one) into head.path and head.authority. Accepts the
// origin form, the absolute form (which says the host, whatever Host does, RFC 9112 §3.2.2) and "*"
// with OPTIONS. HTTP/1.1 must bring a host, which may be empty: then the authority is, as with
// HTTP/1.0 (RFC 9112 §3.3). head.method is set already. Pure.
std::expected<void, Http1Error> applyTarget(std::string_view target,
                                            const std::optional<std::string>& host, bool http10,
                                            std::size_t max_path_bytes, RequestHead& head);

}  // namespace penstock::http
