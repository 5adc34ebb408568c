// penstock-guard: runs one command for a program, and ends that command with everything below it
// when the command ends, when the program asks for it, or when the program itself ends, however
// that came.
//
//   penstock-guard none|descriptor|socket COMMAND ARGUMENT…
//
// Started by net::ChildProcess only. Descriptor 3 is a socket to that program: the guard writes the
// command's process id first and its wait status last; it reads 'T' (SIGTERM to the command
// and its process group), 'K' (SIGKILL to everything) and the end of file. "descriptor" and
// "socket": descriptor 4 becomes the command's descriptor 3; "socket" names it as a socket to
// listen on, as systemd does.
//
// The guard is the subreaper of what it started, so even what left the command's process group and
// session becomes the guard's own child when its parent ends. Killing its children again and again
// until there are none therefore reaches all of them. Signals do not reach the guard, since a
// supervisor may send the one for the program to every process.

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

constexpr int kControl = 3;
constexpr int kPassedHere = 4;
constexpr int kPassedThere = 3;
constexpr int kSweepPauseMs = 20;
// Something that SIGKILL does not end within this time is left to the kernel.
constexpr int kMaxSweepsAfterEnd = 250;

// Ends the process with exit code 127, as a shell does, and a line on standard error.
[[noreturn]] void complain(const char* what) {
  ::dprintf(STDERR_FILENO, "cannot run %s: %s\n", what, std::strerror(errno));
  ::_exit(127);
}

void nameSocket() {
  char pid[16];
  std::snprintf(pid, sizeof pid, "%d", static_cast<int>(::getpid()));
  ::setenv("LISTEN_PID", pid, 1);
  ::setenv("LISTEN_FDS", "1", 1);
}

[[noreturn]] void runCommand(pid_t guard, const char* passed, char** command) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != guard) {
    ::_exit(127);
  }
  ::setsid();
  if (std::strcmp(passed, "none") != 0) {
    ::dup2(kPassedHere, kPassedThere);
    ::close(kPassedHere);
  }
  if (std::strcmp(passed, "socket") == 0) {
    nameSocket();
  }
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execv(command[0], command);
  complain(command[0]);
}

// The parent of a process by /proc; -1 if it is gone.
pid_t parentOf(const char* pid) {
  char path[PATH_MAX];
  std::snprintf(path, sizeof path, "/proc/%s/stat", pid);
  const int file = ::open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) {
    return -1;
  }
  char text[512];
  const ssize_t size = ::read(file, text, sizeof text - 1);
  ::close(file);
  if (size <= 0) {
    return -1;
  }
  text[size] = '\0';
  // The name before it may contain anything.
  const char* name_end = std::strrchr(text, ')');
  int parent = -1;
  return name_end != nullptr && std::sscanf(name_end, ") %*c %d", &parent) == 1 ? parent : -1;
}

// A child of this process keeps its number until it is reaped here.
template <typename Visit>
void forEachChild(Visit visit) {
  DIR* processes = ::opendir("/proc");
  if (processes == nullptr) {
    return;
  }
  const pid_t self = ::getpid();
  while (const dirent* entry = ::readdir(processes)) {
    if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && parentOf(entry->d_name) == self) {
      visit(static_cast<pid_t>(std::atoi(entry->d_name)));
    }
  }
  ::closedir(processes);
}

void killChildren() {
  forEachChild([](pid_t child) { ::kill(child, SIGKILL); });
}

bool hasChildInGroup(pid_t group) {
  bool found = false;
  forEachChild([&](pid_t child) { found = found || ::getpgid(child) == group; });
  return found;
}

class Guard {
 public:
  explicit Guard(pid_t command) : command_(command) {}

  // Returns when the command and everything below it are gone.
  void watch(int child_signals) {
    int sweeps_after_end = 0;
    while (reap()) {
      if (state_ == State::kGroupLeft && !hasChildInGroup(command_)) {
        state_ = State::kEnded;
      }
      if (state_ == State::kKilling || state_ == State::kEnded) {
        sweep();
      }
      if (state_ == State::kEnded && ++sweeps_after_end > kMaxSweepsAfterEnd) {
        break;
      }
      pollfd entries[] = {{.fd = child_signals, .events = POLLIN, .revents = 0},
                          {.fd = control_, .events = POLLIN, .revents = 0}};
      const bool waits = state_ == State::kRunning || state_ == State::kAsked;
      ::poll(entries, 2, waits ? -1 : kSweepPauseMs);
      if (entries[0].revents != 0) {
        signalfd_siginfo signal;
        [[maybe_unused]] const ssize_t taken = ::read(child_signals, &signal, sizeof signal);
      }
      if (entries[1].revents != 0) {
        obey();
      }
    }
  }

  int status() const { return status_; }

 private:
  // False when there is no child left.
  bool reap() {
    while (true) {
      siginfo_t child{};
      if (::waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) != 0) {
        return errno == EINTR;
      }
      if (child.si_pid == 0) {
        return true;
      }
      if (child.si_pid == command_) {
        // While its first process still has the number, which nobody else can have got then.
        if (state_ == State::kAsked) {
          state_ = State::kGroupLeft;
        } else {
          ::kill(-command_, SIGKILL);
          state_ = State::kEnded;
        }
      }
      int status = 0;
      ::waitpid(child.si_pid, &status, 0);
      if (child.si_pid == command_) {
        status_ = status;
      }
    }
  }

  void sweep() {
    if (state_ == State::kKilling) {
      ::kill(-command_, SIGKILL);
      ::kill(command_, SIGKILL);
    }
    killChildren();
  }

  void obey() {
    char request = 'K';
    const ssize_t size = ::read(kControl, &request, 1);
    if (size < 0 && errno == EINTR) {
      return;
    }
    if (size != 1) {
      control_ = -1;
    }
    if (size == 1 && request == 'T') {
      askToEnd();
    } else if (state_ == State::kRunning || state_ == State::kAsked) {
      state_ = State::kKilling;
    } else if (state_ == State::kGroupLeft) {
      state_ = State::kEnded;
    }
  }

  void askToEnd() {
    if (state_ == State::kRunning || state_ == State::kAsked) {
      // No group yet: the command is not quite begun.
      if (::kill(-command_, SIGTERM) != 0) {
        ::kill(command_, SIGTERM);
      }
      state_ = State::kAsked;
    }
  }

  // kRunning → kAsked: SIGTERM. kAsked → kGroupLeft: the command, perhaps only a shell, is reaped;
  // the rest of its group has the same time to end as it had. kRunning or kAsked → kKilling: asked
  // for, or the program has ended. All → kEnded: the command is reaped; what is left is killed.
  enum class State { kRunning, kAsked, kGroupLeft, kKilling, kEnded };

  const pid_t command_;
  State state_ = State::kRunning;
  int control_ = kControl;  // -1: the program has ended
  int status_ = SIGKILL;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fputs("penstock-guard is started by penstock-proxy and penstock-sidecar only\n", stderr);
    return 1;
  }
  sigset_t all;
  sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  const int child_signals = ::signalfd(-1, &child, SFD_CLOEXEC);
  if (child_signals < 0 || ::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0 ||
      ::fcntl(kControl, F_SETFD, FD_CLOEXEC) != 0) {
    complain(argv[2]);
  }
  const pid_t self = ::getpid();
  const pid_t command = ::fork();
  if (command < 0) {
    complain(argv[2]);
  }
  if (command == 0) {
    runCommand(self, argv[1], argv + 2);
  }
  // The command's files and folder are no longer this process's.
  ::close(kPassedHere);
  ::dup2(STDIN_FILENO, STDOUT_FILENO);
  ::dup2(STDIN_FILENO, STDERR_FILENO);
  [[maybe_unused]] const int moved = ::chdir("/");
  ::send(kControl, &command, sizeof command, MSG_NOSIGNAL);
  Guard guard(command);
  guard.watch(child_signals);
  const int status = guard.status();
  ::send(kControl, &status, sizeof status, MSG_NOSIGNAL);
  ::_exit(0);
}
