#include "base/signals.h"

#include <csignal>

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace penstock {
namespace {

// How a process that ignores stray signals ends when it is sent this one; it exits with 7 if it
// survives.
int statusAfter(int signal) {
  const pid_t child = ::fork();
  if (child == 0) {
    ignoreStraySignals();
    ::kill(::getpid(), signal);
    ::_exit(7);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return status;
}

// What is meant to end a process, or tells of a fault in it, or stops it.
bool staysAsItIs(int signal) {
  switch (signal) {
    case SIGKILL:
    case SIGTERM:
    case SIGINT:
    case SIGQUIT:
    case SIGILL:
    case SIGTRAP:
    case SIGABRT:
    case SIGBUS:
    case SIGFPE:
    case SIGSEGV:
    case SIGXCPU:
    case SIGSYS:
    case SIGSTOP:
    case SIGTSTP:
    case SIGTTIN:
    case SIGTTOU:
      return true;
    default:
      return false;
  }
}

TEST(Signals, NoneIsDeadlyThatNobodyMeans) {
  for (int signal = 1; signal <= SIGRTMAX; ++signal) {
    if (!staysAsItIs(signal)) {
      const int status = statusAfter(signal);
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7) << "signal " << signal;
    }
  }
}

TEST(Signals, ThoseThatAreMeantToEndAProcessDo) {
  for (const int signal : {SIGTERM, SIGINT, SIGKILL}) {
    const int status = statusAfter(signal);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == signal) << "signal " << signal;
  }
}

}  // namespace
}  // namespace penstock
