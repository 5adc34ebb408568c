#pragma once

namespace penstock {

// Writes one line to standard error and aborts.
[[noreturn]] void checkFailed(const char* file, int line, const char* condition,
                              const char* sentence);

}  // namespace penstock

// Our own mistake if it fails: the sentence says what was promised.
#define PENSTOCK_CHECK(condition, sentence)                                \
  do {                                                                     \
    if (!(condition)) [[unlikely]]                                         \
      ::penstock::checkFailed(__FILE__, __LINE__, #condition, (sentence)); \
  } while (false)
