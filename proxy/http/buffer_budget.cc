#include "proxy/http/buffer_budget.h"

#include <algorithm>
#include <fstream>

#include <unistd.h>

namespace penstock::proxy {

ByteSize BufferBudget::defaultLimit() {
  auto memory = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  // Version 2 ("max" when unlimited: not a number), then version 1.
  for (const char* file :
       {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    std::uint64_t limit = 0;
    if (std::ifstream(file) >> limit) {
      memory = std::min(memory, limit);
    }
  }
  return {memory / 4};
}

}  // namespace penstock::proxy
