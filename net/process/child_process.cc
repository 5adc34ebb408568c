#include "net/process/child_process.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/process/listening_process.h"
#include "net/process/program_path.h"

namespace penstock::net {
namespace {

// The guard's side of the agreement is in guard.cc.
constexpr int kControlInGuard = STDERR_FILENO + 1;
constexpr int kTimeToStartMs = 10'000;
constexpr int kTimeToEndMs = 10'000;
// What was set for this process by whoever handed it a socket.
constexpr std::string_view kNotInherited[] = {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"};

struct Pipe {
  UniqueFd reading;
  UniqueFd writing;
};

Result<Pipe> makePipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return failure(std::string("cannot make a pipe: ") + std::strerror(errno));
  }
  Pipe result{UniqueFd(ends[0]), UniqueFd(ends[1])};
  // Only our end: the child's must block like any other standard output.
  ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return result;
}

// posix_spawn's file actions and attributes, with the child's whole surroundings in them.
class SpawnPlan {
 public:
  SpawnPlan(const ChildProcess::Command& command, int control, int standard_output,
            int standard_error) {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&actions_, standard_output, STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions_, standard_error, STDERR_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions_, control, kControlInGuard);
    int first_closed = kControlInGuard + 1;
    if (command.descriptor >= 0) {
      ::posix_spawn_file_actions_adddup2(&actions_, command.descriptor, first_closed);
      ++first_closed;
    }
    ::posix_spawn_file_actions_addclosefrom_np(&actions_, first_closed);
    if (!command.directory.empty()) {
      ::posix_spawn_file_actions_addchdir_np(&actions_, command.directory.c_str());
    }
    ::posix_spawnattr_init(&attributes_);
    sigset_t signals;
    sigemptyset(&signals);
    ::posix_spawnattr_setsigmask(&attributes_, &signals);
    sigfillset(&signals);
    ::posix_spawnattr_setsigdefault(&attributes_, &signals);
    ::posix_spawnattr_setflags(
        &attributes_,
        static_cast<short>(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID));
    for (char** variable = environ; *variable != nullptr; ++variable) {
      const std::string_view name(*variable, std::strcspn(*variable, "="));
      const auto& own = command.environment;
      if (std::ranges::find(own, name, &std::pair<std::string, std::string>::first) == own.end() &&
          std::ranges::find(kNotInherited, name) == std::end(kNotInherited)) {
        environment_.emplace_back(*variable);
      }
    }
    for (const auto& [name, value] : command.environment) {
      environment_.push_back(name + '=' + value);
    }
  }
  ~SpawnPlan() {
    ::posix_spawnattr_destroy(&attributes_);
    ::posix_spawn_file_actions_destroy(&actions_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  Result<pid_t> run(std::vector<std::string> arguments) const {
    std::vector<std::string> environment = environment_;
    std::vector<char*> argv = pointers(arguments);
    std::vector<char*> envp = pointers(environment);
    pid_t pid = 0;
    const int error =
        ::posix_spawn(&pid, argv[0], &actions_, &attributes_, argv.data(), envp.data());
    if (error != 0) {
      return failure("cannot start " + arguments[0] + ": " + std::strerror(error));
    }
    return pid;
  }

 private:
  static std::vector<char*> pointers(std::vector<std::string>& strings) {
    std::vector<char*> result;
    for (std::string& string : strings) {
      result.push_back(string.data());
    }
    result.push_back(nullptr);
    return result;
  }

  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
  std::vector<std::string> environment_;
};

Result<Pipe> makeControl() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return failure(std::string("cannot make a socket: ") + std::strerror(errno));
  }
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

// One number from the guard; none if it has ended or takes longer.
std::optional<int> receive(int control, int timeout_ms) {
  pollfd entry{.fd = control, .events = POLLIN, .revents = 0};
  int ready = 0;
  while ((ready = ::poll(&entry, 1, timeout_ms)) < 0 && errno == EINTR) {
  }
  int number = 0;
  if (ready > 0 && ::recv(control, &number, sizeof number, MSG_DONTWAIT) == sizeof number) {
    return number;
  }
  return std::nullopt;
}

void reap(pid_t pid) {
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace

Result<std::unique_ptr<ChildProcess>> ChildProcess::start(EventLoop& loop, const Command& command,
                                                          ExitCallback on_exit) {
  const Result<std::string> program = findProgram("penstock-guard");
  Result<Pipe> control = makeControl();
  Result<Pipe> output = makePipe();
  Result<Pipe> error = makePipe();
  if (!program || !control || !output || !error) {
    return std::unexpected(!program   ? program.error()
                           : !control ? control.error()
                           : !output  ? output.error()
                                      : error.error());
  }
  const char* const passed = command.descriptor < 0         ? "none"
                             : command.descriptor_is_socket ? "socket"
                                                            : "descriptor";
  std::vector<std::string> all{*program, passed};
  all.insert(all.end(), command.arguments.begin(), command.arguments.end());
  const SpawnPlan plan(command, control->writing.get(), output->writing.get(),
                       error->writing.get());
  const Result<pid_t> guard = plan.run(std::move(all));
  if (!guard) {
    return std::unexpected(guard.error());
  }
  control->writing.reset();
  const std::optional<int> pid = receive(control->reading.get(), kTimeToStartMs);
  if (!pid.has_value()) {
    ::kill(*guard, SIGKILL);
    reap(*guard);
    return failure("cannot start " + command.arguments[0] + ": " + *program + " does not run");
  }
  return std::unique_ptr<ChildProcess>(new ChildProcess(
      loop, {*guard, std::move(control->reading)}, *pid,
      {std::move(output->reading), std::move(error->reading)}, std::move(on_exit)));
}

ChildProcess::ChildProcess(EventLoop& loop, Guard guard, pid_t pid, Output output,
                           ExitCallback on_exit)
    : guard_(std::move(guard)),
      pid_(pid),
      output_(std::move(output)),
      on_exit_(std::move(on_exit)),
      watch_(loop, guard_.control.get(), [this](FdWatch::Ready) { onExit(); }) {
  watch_.set(true, false);
}

ChildProcess::~ChildProcess() {
  kill();
  if (!ended_) {
    awaitEnd(kTimeToEndMs);
  }
}

// By the guard, whose child everything below becomes that has lost its parent.
bool ChildProcess::mayListenAt(const Address& address, Stranger stranger) const {
  return mayListen(guard_.pid, address, stranger);
}

void ChildProcess::terminate() {
  ask('T');
}

void ChildProcess::kill() {
  ask('K');
}

void ChildProcess::ask(char request) {
  if (!ended_) {
    ::send(guard_.control.get(), &request, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
  }
}

// The wait status. Without a word from the guard, which somebody has killed then: the kernel has
// killed the command with it, and what is left of its group ends here.
int ChildProcess::awaitEnd(int timeout_ms) {
  const std::optional<int> status = receive(guard_.control.get(), timeout_ms);
  if (!status.has_value()) {
    ::kill(guard_.pid, SIGKILL);
    ::kill(-pid_, SIGKILL);
  }
  reap(guard_.pid);
  ended_ = true;
  return status.value_or(SIGKILL);
}

void ChildProcess::onExit() {
  watch_.set(false, false);
  const int status = awaitEnd(0);
  const std::string how = WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status))
                                              : "exit code " + std::to_string(WEXITSTATUS(status));
  ExitCallback on_exit = std::move(on_exit_);
  on_exit(how);
}

}  // namespace penstock::net
