#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"
#include "net/unique_fd.h"

namespace penstock::runtime {

// Bodies that cross between processes as an anonymous file in memory (memfd): written once, and
// read there without going through the socket.

Result<net::UniqueFd> writeBodyFile(std::string_view body);
// The whole file; an error if it is longer than max_bytes.
Result<std::string> readBodyFile(const net::UniqueFd& file, std::size_t max_bytes);

}  // namespace penstock::runtime
