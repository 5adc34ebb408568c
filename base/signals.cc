#include "base/signals.h"

#include <csignal>
#include <initializer_list>

#include <sys/syscall.h>
#include <unistd.h>

namespace penstock {
namespace {

// Two real-time signals that the C library keeps for itself, out of reach of sigaction(). It
// installs its handlers when it comes to need them; before that they are as deadly as the others.
void ignoreReserved() {
  struct {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)();
    unsigned long mask;
  } const ignored{SIG_IGN, 0, nullptr, 0};
  constexpr int kFirstRealTime = 32;
  for (int signal = kFirstRealTime; signal < SIGRTMIN; ++signal) {
    ::syscall(SYS_rt_sigaction, signal, &ignored, nullptr, sizeof ignored.mask);
  }
}

}  // namespace

void ignoreStraySignals() {
  for (const int signal : {SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE, SIGALRM, SIGVTALRM, SIGPROF, SIGIO,
                           SIGPWR, SIGSTKFLT, SIGXFSZ}) {
    std::signal(signal, SIG_IGN);
  }
  for (int signal = SIGRTMIN; signal <= SIGRTMAX; ++signal) {
    std::signal(signal, SIG_IGN);
  }
  ignoreReserved();
}

}  // namespace penstock
