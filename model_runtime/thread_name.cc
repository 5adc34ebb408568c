#include "model_runtime/thread_name.h"

#include <pthread.h>
#include <sched.h>

namespace penstock::runtime {

void nameThisThread(const std::string& name) {
  // Longer names would be refused, not cut.
  pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
}

void yieldToLanes() {
  const sched_param no_priority{};
  pthread_setschedparam(pthread_self(), SCHED_BATCH, &no_priority);
}

}  // namespace penstock::runtime
