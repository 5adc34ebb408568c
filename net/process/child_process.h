#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "base/result.h"
#include "net/event_loop.h"
#include "net/unique_fd.h"

namespace penstock::net {

// A program that this one started, in a session (and so a process group) of its own, with nothing
// inherited but standard output and error, which come back through two pipes, and, if asked for,
// one more descriptor; standard input is empty.
//
// No orphans: the child is started by util-linux's setpriv with --pdeathsig KILL, so the kernel
// kills it when the thread that started it (the loop's) ends, however that came. (posix_spawn
// cannot ask for that, and fork() is no good in a program with threads.) Destroying a child that
// runs kills its process group and waits for it. Loop thread only.
class ChildProcess {
 public:
  // How it ended: "exit code 1", "signal 9".
  using ExitCallback = std::move_only_function<void(const std::string& how)>;
  struct Output {
    UniqueFd standard_output;
    UniqueFd standard_error;
  };

  struct Command {
    std::vector<std::string> arguments;  // the program's path, then its arguments
    std::string directory{};             // to start in; empty: this process's
    // Set beside, or in place of, what this process has in its environment.
    std::vector<std::pair<std::string, std::string>> environment{};
    int descriptor = -1;  // becomes the child's descriptor 3; stays open here
  };
  static constexpr int kPassedDescriptor = 3;

  // on_exit is called once, when the process has ended and been reaped and its process group is
  // gone; it may destroy the child.
  static Result<std::unique_ptr<ChildProcess>> start(EventLoop& loop, const Command& command,
                                                     ExitCallback on_exit);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }
  // The reading ends, non-blocking, for who listens. Once.
  Output takeOutput() { return std::move(output_); }
  // Asks the process to end.
  void terminate();
  // Ends it and every process of its group.
  void kill();

 private:
  ChildProcess(EventLoop& loop, pid_t pid, UniqueFd pidfd, Output output, ExitCallback on_exit);
  void onExit();

  const pid_t pid_;
  UniqueFd pidfd_;
  Output output_;
  ExitCallback on_exit_;
  bool reaped_ = false;
  FdWatch watch_;
};

}  // namespace penstock::net
