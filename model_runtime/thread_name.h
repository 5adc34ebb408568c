#pragma once

#include <string>

namespace penstock::runtime {

// What top, gdb and perf show for the calling thread; cut at 15 characters.
void nameThisThread(const std::string& name);

// Tells the scheduler that the calling thread, when woken, is not to push a running one off its
// processor (SCHED_BATCH): a lane wakes the thread that does the postprocessing, and would then
// stand idle for as long as that takes.
void yieldToLanes();

}  // namespace penstock::runtime
