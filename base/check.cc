#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace penstock {

void checkFailed(const char* file, int line, const char* condition, const char* sentence) {
  std::fprintf(stderr, "%s:%d: broken promise: %s (%s)\n", file, line, sentence, condition);
  std::abort();
}

}  // namespace penstock
