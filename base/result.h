#pragma once

#include <expected>
#include <string>

namespace penstock {

// What went wrong, as one sentence for a person: what was expected, and where.
struct Error {
  std::string message;
};

template <typename T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> failure(std::string message) {
  return std::unexpected(Error{std::move(message)});
}

}  // namespace penstock
