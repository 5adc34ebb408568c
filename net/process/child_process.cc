#include "net/process/child_process.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/process/program_path.h"

// glibc 2.36 declares it without C linkage.
extern "C" {
#include <sys/pidfd.h>
}

namespace penstock::net {
namespace {

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
  SpawnPlan(const ChildProcess::Command& command, int standard_output, int standard_error) {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&actions_, standard_output, STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions_, standard_error, STDERR_FILENO);
    int first_closed = STDERR_FILENO + 1;
    if (command.descriptor >= 0) {
      static_assert(ChildProcess::kPassedDescriptor == STDERR_FILENO + 1);
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
      if (std::ranges::find(own, name, &std::pair<std::string, std::string>::first) == own.end()) {
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

// The whole group while its first process still has a name, then that process, so that no other
// process can have got the number meanwhile.
int killAndReap(pid_t pid) {
  ::kill(-pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

}  // namespace

Result<std::unique_ptr<ChildProcess>> ChildProcess::start(EventLoop& loop, const Command& command,
                                                          ExitCallback on_exit) {
  const Result<std::string> setpriv = findProgram("setpriv", {}, "/usr/bin:/bin");
  Result<Pipe> output = makePipe();
  Result<Pipe> error = makePipe();
  if (!setpriv || !output || !error) {
    return std::unexpected(!setpriv ? setpriv.error() : !output ? output.error() : error.error());
  }
  std::vector<std::string> all{*setpriv, "--pdeathsig", "KILL", "--"};
  all.insert(all.end(), command.arguments.begin(), command.arguments.end());
  const SpawnPlan plan(command, output->writing.get(), error->writing.get());
  const Result<pid_t> pid = plan.run(std::move(all));
  if (!pid) {
    return std::unexpected(pid.error());
  }
  UniqueFd pidfd(::pidfd_open(*pid, 0));
  if (!pidfd.valid()) {
    const std::string why = std::strerror(errno);
    killAndReap(*pid);
    return failure("cannot watch a process: " + why);
  }
  return std::unique_ptr<ChildProcess>(new ChildProcess(
      loop, *pid, std::move(pidfd), {std::move(output->reading), std::move(error->reading)},
      std::move(on_exit)));
}

ChildProcess::ChildProcess(EventLoop& loop, pid_t pid, UniqueFd pidfd, Output output,
                           ExitCallback on_exit)
    : pid_(pid),
      pidfd_(std::move(pidfd)),
      output_(std::move(output)),
      on_exit_(std::move(on_exit)),
      watch_(loop, pidfd_.get(), [this](FdWatch::Ready) { onExit(); }) {
  watch_.set(true, false);
}

ChildProcess::~ChildProcess() {
  if (!reaped_) {
    killAndReap(pid_);
  }
}

void ChildProcess::terminate() {
  if (!reaped_) {
    ::kill(pid_, SIGTERM);
  }
}

void ChildProcess::kill() {
  if (!reaped_) {
    ::kill(-pid_, SIGKILL);
  }
}

void ChildProcess::onExit() {
  watch_.set(false, false);
  const int status = killAndReap(pid_);
  reaped_ = true;
  const std::string how = WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status))
                                              : "exit code " + std::to_string(WEXITSTATUS(status));
  ExitCallback on_exit = std::move(on_exit_);
  on_exit(how);
}

}  // namespace penstock::net
