#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "base/result.h"
#include "net/address.h"
#include "net/event_loop.h"
#include "net/process/listening_process.h"
#include "net/unique_fd.h"

namespace penstock::net {

// A program that this one started, in a session (and so a process group) of its own, with nothing
// inherited but standard output and error, which come back through two pipes, and, if asked for,
// one more descriptor; standard input is empty.
//
// No orphans: the child and every process below it, whatever group or session it moved to, end with
// the child, with this object, and with this process, however that ends. That is the work of a
// process between the two, penstock-guard (guard.cc), which is looked for beside this program and
// in PATH. Destroying a child that runs kills everything and waits for it. Loop thread only.
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
    // The descriptor is a socket to listen on: LISTEN_FDS and LISTEN_PID say so, as systemd does.
    bool descriptor_is_socket = false;
  };
  static constexpr int kPassedDescriptor = 3;

  // on_exit is called once, when the process has ended and everything below it is gone; it may
  // destroy the child. Waits until the process exists (a few milliseconds, at most 10 s).
  static Result<std::unique_ptr<ChildProcess>> start(EventLoop& loop, const Command& command,
                                                     ExitCallback on_exit);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }
  // Whether it, or a process below it, is who listens at an address; see mayListen().
  bool mayListenAt(const Address& address, Stranger stranger) const;
  // The reading ends, non-blocking, for who listens. Once.
  Output takeOutput() { return std::move(output_); }
  // Asks the process, and all of its process group, to end: a shell passes no signal on. It has
  // ended when the whole group has.
  void terminate();
  // Ends it and every process below it.
  void kill();

 private:
  // The process between: its id, and our end of the socket to it.
  struct Guard {
    pid_t pid;
    UniqueFd control;
  };
  ChildProcess(EventLoop& loop, Guard guard, pid_t pid, Output output, ExitCallback on_exit);
  void ask(char request);
  void onExit();
  int awaitEnd(int timeout_ms);

  Guard guard_;
  const pid_t pid_;
  Output output_;
  ExitCallback on_exit_;
  bool ended_ = false;
  FdWatch watch_;
};

}  // namespace penstock::net
