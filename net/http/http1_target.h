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
// origin form, the absolute form (which must agree with Host) and "*" with OPTIONS. HTTP/1.1 must
// bring a host. head.method is set already. Pure.
std::expected<void, Http1Error> applyTarget(std::string_view target,
                                            const std::optional<std::string>& host, bool http10,
                                            std::size_t max_path_bytes, RequestHead& head);

}  // namespace penstock::http
