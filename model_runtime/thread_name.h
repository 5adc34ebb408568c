#pragma once

#include <string>

namespace penstock::runtime {

// What top, gdb and perf show for the calling thread; cut at 15 characters.
void nameThisThread(const std::string& name);

}  // namespace penstock::runtime
