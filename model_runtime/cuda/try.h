#pragma once

#include <expected>
#include <utility>

// Returns the error of a call that gives a std::expected, if it has one.
#define PENSTOCK_TRY(call)                              \
  do {                                                  \
    if (auto&& tried = (call); !tried.has_value()) {    \
      return std::unexpected(std::move(tried.error())); \
    }                                                   \
  } while (false)
