#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include "base/result.h"
#include "net/event_loop.h"
#include "net/unique_fd.h"

namespace penstock::proxy {

// A program that this one started, in a process group of its own, with nothing inherited but
// standard output and error, which come back through two pipes; standard input is empty.
//
// No orphans: the child is started by util-linux's setpriv with --pdeathsig KILL, so the kernel
// kills it when the thread that started it (the main loop's) ends, however that came. (posix_spawn
// cannot ask for that, and fork() is no good in a program with threads.) Destroying a child that
// runs kills its process group and waits for it. Loop thread only.
class ChildProcess {
 public:
  // How it ended: "exit code 1", "signal 9".
  using ExitCallback = std::move_only_function<void(const std::string& how)>;
  struct Output {
    net::UniqueFd standard_output;
    net::UniqueFd standard_error;
  };

  // arguments: the program's path, then its arguments. on_exit is called once, when the process has
  // ended and been reaped and its process group is gone; it may destroy the child.
  static Result<std::unique_ptr<ChildProcess>> start(net::EventLoop& loop,
                                                     const std::vector<std::string>& arguments,
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
  ChildProcess(net::EventLoop& loop, pid_t pid, net::UniqueFd pidfd, Output output,
               ExitCallback on_exit);
  void onExit();

  const pid_t pid_;
  net::UniqueFd pidfd_;
  Output output_;
  ExitCallback on_exit_;
  bool reaped_ = false;
  net::FdWatch watch_;
};

}  // namespace penstock::proxy
