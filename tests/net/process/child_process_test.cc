// Real children: /bin/sh. Each test waits for what the child does, never for a time.

#include "net/process/child_process.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <vector>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/loop_runner.h"
#include "tests/support/temporary_folder.h"

namespace penstock::net {
namespace {

using ::testing::HasSubstr;

// Neither gone nor a zombie.
bool alive(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string stat(std::istreambuf_iterator<char>(file), {});
  const std::size_t name_end = stat.rfind(')');
  return name_end != std::string::npos && stat.size() > name_end + 2 && stat[name_end + 2] != 'Z' &&
         stat[name_end + 2] != 'X';
}

class ChildProcessTest : public ::testing::Test {
 protected:
  void start(const std::string& script) {
    auto started = ChildProcess::start(loop, {.arguments = {"/bin/sh", "-c", script}},
                                       [this](const std::string& h) {
                                         ++exits;
                                         how = h;
                                       });
    ASSERT_TRUE(started.has_value()) << started.error().message;
    child = std::move(*started);
    output = child->takeOutput();
  }
  bool runUntil(const std::function<bool()>& done) { return net::runUntil(loop, done); }
  bool runUntilExit() {
    return runUntil([&] { return exits > 0; });
  }
  // What has come through a pipe so far.
  static std::string available(const net::UniqueFd& fd) {
    std::string text;
    char block[4096];
    for (ssize_t n; (n = ::read(fd.get(), block, sizeof block)) > 0;) {
      text.append(block, static_cast<std::size_t>(n));
    }
    return text;
  }
  bool runUntilOutput(const std::string& wanted) {
    return runUntil([&] { return (seen += available(output.standard_output)) == wanted; });
  }

  SteadyClock clock;
  net::EventLoop loop{clock};
  TemporaryFolder folder;
  std::unique_ptr<ChildProcess> child;
  ChildProcess::Output output;
  std::string seen;
  std::string how;
  int exits = 0;
};

TEST_F(ChildProcessTest, RunsWhereAndWithWhatItIsTold) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reading(ends[0]);
  const UniqueFd writing(ends[1]);
  ::setenv("PENSTOCK_TEST_REPLACED", "old", 1);
  auto started = ChildProcess::start(
      loop,
      {.arguments = {"/bin/sh", "-c",
                     "pwd >&3; echo $PENSTOCK_TEST_REPLACED $PENSTOCK_TEST_NEW $HOME >&3; "
                     "cut -d' ' -f6 /proc/$$/stat >&3; echo $$ >&3; echo done"},
       .directory = folder.path(),
       .environment = {{"PENSTOCK_TEST_REPLACED", "new"}, {"PENSTOCK_TEST_NEW", "a=b"}},
       .descriptor = writing.get()},
      [this](const std::string&) { ++exits; });
  ASSERT_TRUE(started.has_value()) << started.error().message;
  child = std::move(*started);
  const std::string pid = std::to_string(child->pid());
  ASSERT_TRUE(runUntilExit());
  ::fcntl(reading.get(), F_SETFL, O_NONBLOCK);
  EXPECT_EQ(available(reading),
            folder.path() + "\nnew a=b " + std::getenv("HOME") + "\n" + pid + "\n" + pid + "\n");
}

TEST_F(ChildProcessTest, TellsHowItEnded) {
  start("exit 3");
  ASSERT_TRUE(runUntilExit());
  EXPECT_EQ(how, "exit code 3");
  EXPECT_EQ(exits, 1);
}

TEST_F(ChildProcessTest, LeavesNoZombie) {
  start("exit 0");
  ASSERT_TRUE(runUntilExit());
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST_F(ChildProcessTest, TellsTheSignalThatEndedIt) {
  start("kill -9 $$");
  ASSERT_TRUE(runUntilExit());
  EXPECT_EQ(how, "signal 9");
}

TEST_F(ChildProcessTest, BringsBothOutputsApart) {
  start("echo out; echo err >&2");
  ASSERT_TRUE(runUntilExit());
  EXPECT_EQ(available(output.standard_output), "out\n");
  EXPECT_EQ(available(output.standard_error), "err\n");
}

TEST_F(ChildProcessTest, InheritsNothingButItsOutputs) {
  // Not close-on-exec, as a careless library might leave it.
  const net::UniqueFd careless(::open("/dev/zero", O_RDONLY));
  start("ls /proc/$$/fd; readlink /proc/$$/fd/0");
  ASSERT_TRUE(runUntilExit());
  // 10 or so would be the shell's own; it opens none for -c.
  EXPECT_EQ(available(output.standard_output), "0\n1\n2\n/dev/null\n");
}

TEST_F(ChildProcessTest, HasNoSignalBlockedOrIgnored) {
  const std::vector<int> kSignals{SIGPIPE, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM, SIGRTMIN, SIGRTMAX};
  // The C library's own two have no bit that posix_spawn could reset.
  constexpr std::uint64_t kOfTheCLibrary = 3ull << 31;
  sigset_t blocked;
  sigset_t before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &before);
  for (const int signal : kSignals) {
    std::signal(signal, SIG_IGN);
  }
  start("exec sed -nE 's/^Sig(Blk|Ign):.//p' /proc/self/status");
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  for (const int signal : kSignals) {
    std::signal(signal, SIG_DFL);
  }
  ASSERT_TRUE(runUntilExit());
  std::istringstream masks(available(output.standard_output));
  std::uint64_t blocked_there = ~0ull;
  std::uint64_t ignored_there = ~0ull;
  masks >> std::hex >> blocked_there >> ignored_there;
  EXPECT_EQ(blocked_there, 0u);
  EXPECT_EQ(ignored_there & ~kOfTheCLibrary, 0u);
}

TEST_F(ChildProcessTest, EndsWhenTerminated) {
  start("trap 'exit 5' TERM; echo up; while :; do sleep 0.01; done");
  ASSERT_TRUE(runUntilOutput("up\n"));
  child->terminate();
  ASSERT_TRUE(runUntilExit());
  EXPECT_EQ(how, "exit code 5");
  child->terminate();
  child->kill();
}

// A shell that does not wait for what it has started, and that ends by SIGTERM; the other process
// ends some time after it was asked to.
constexpr const char* kShellAndServer =
    "(trap 'echo x > asked' TERM; echo up; until [ -e go ]; do sleep 0.01; done; echo x > ended) & "
    "wait; true";

TEST_F(ChildProcessTest, TheWholeGroupIsAskedToEndAndMayEndLaterThanItsShell) {
  start("cd " + folder.path() + "; " + kShellAndServer);
  ASSERT_TRUE(runUntilOutput("up\n"));
  const pid_t shell = child->pid();
  child->terminate();
  EXPECT_TRUE(runUntil([&] { return !alive(shell) && !folder.content("asked").empty(); }));
  EXPECT_EQ(exits, 0) << "the group has not ended";
  folder.write("go", "");
  ASSERT_TRUE(runUntilExit());
  EXPECT_EQ(how, "signal 15");
  EXPECT_EQ(folder.content("ended"), "x\n");
}

TEST_F(ChildProcessTest, KillingReachesAGroupWhoseShellHasEnded) {
  start("cd " + folder.path() + "; " + kShellAndServer);
  ASSERT_TRUE(runUntilOutput("up\n"));
  const pid_t shell = child->pid();
  child->terminate();
  EXPECT_TRUE(runUntil([&] { return !alive(shell) && !folder.content("asked").empty(); }));
  child->kill();
  ASSERT_TRUE(runUntilExit());
  folder.write("go", "");
  EXPECT_EQ(folder.content("ended"), "");
}

TEST_F(ChildProcessTest, KillingItKillsItsWholeGroup) {
  start("sleep 1000 & echo $! > " + folder.path("grandchild") + "; trap '' TERM; echo up; wait");
  ASSERT_TRUE(runUntilOutput("up\n"));
  const pid_t grandchild = std::stoi(folder.content("grandchild"));
  ASSERT_TRUE(alive(grandchild));
  child->kill();
  ASSERT_TRUE(runUntilExit());
  EXPECT_EQ(how, "signal 9");
  EXPECT_TRUE(runUntil([&] { return !alive(grandchild); }));
}

TEST_F(ChildProcessTest, WhatItLeavesBehindGoesWithIt) {
  start("sleep 1000 & echo $! > " + folder.path("grandchild"));
  ASSERT_TRUE(runUntilExit());
  EXPECT_EQ(how, "exit code 0");
  const pid_t grandchild = std::stoi(folder.content("grandchild"));
  EXPECT_TRUE(runUntil([&] { return !alive(grandchild); }));
}

TEST_F(ChildProcessTest, DestroyingItKillsAndReapsIt) {
  start("trap '' TERM; echo up; while :; do sleep 0.01; done");
  ASSERT_TRUE(runUntilOutput("up\n"));
  const pid_t pid = child->pid();
  child.reset();
  EXPECT_FALSE(alive(pid));
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(exits, 0);
}

// A script that starts one process in its own group, one in a session of its own, and one that has
// lost its parent and its session, as a daemon does. Each writes its process id to a file.
constexpr const char* kFamily =
    "sleep 1000 & echo $! > near; setsid sh -c 'echo $$ > far; exec sleep 1000' & "
    "(setsid sh -c 'echo $$ > daemon.new; mv daemon.new daemon; exec sleep 1000' &) ; "
    "while ! [ -s far ] || ! [ -s daemon ]; do sleep 0.01; done; ";

class ChildProcessFamilyTest : public ChildProcessTest {
 protected:
  void startFamily(const std::string& then) {
    start("cd " + folder.path() + "; " + kFamily + then);
  }
  std::vector<pid_t> family() const {
    return {std::stoi(folder.content("near")), std::stoi(folder.content("far")),
            std::stoi(folder.content("daemon"))};
  }
  static bool noneAlive(const std::vector<pid_t>& pids) {
    return std::ranges::none_of(pids, alive);
  }
};

TEST_F(ChildProcessFamilyTest, IsGoneWhenTheChildHasEnded) {
  startFamily("exit 4");
  ASSERT_TRUE(runUntilExit());
  EXPECT_EQ(how, "exit code 4");
  EXPECT_TRUE(noneAlive(family()));
}

TEST_F(ChildProcessFamilyTest, IsKilledWithTheChild) {
  startFamily("trap '' TERM; echo up; wait");
  ASSERT_TRUE(runUntilOutput("up\n"));
  ASSERT_TRUE(std::ranges::all_of(family(), alive));
  child->kill();
  ASSERT_TRUE(runUntilExit());
  EXPECT_EQ(how, "signal 9");
  EXPECT_TRUE(noneAlive(family()));
}

TEST_F(ChildProcessFamilyTest, IsKilledWithTheObject) {
  startFamily("trap '' TERM; echo up; wait");
  ASSERT_TRUE(runUntilOutput("up\n"));
  child.reset();
  EXPECT_TRUE(noneAlive(family()));
}

TEST_F(ChildProcessFamilyTest, EndsWithTheProgramThatStartedIt) {
  const pid_t starter = ::fork();
  if (starter == 0) {
    // Should the test end early.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    net::EventLoop own(clock);
    auto started = ChildProcess::start(
        own,
        {.arguments = {"/bin/sh", "-c",
                       std::string(kFamily) + "echo $$ > up.new; mv up.new up; wait"},
         .directory = folder.path()},
        [](const std::string&) {});
    ::pause();
    ::_exit(0);
  }
  ASSERT_TRUE(runUntil([&] { return ::access(folder.path("up").c_str(), F_OK) == 0; }));
  std::vector<pid_t> all = family();
  all.push_back(std::stoi(folder.content("up")));
  ASSERT_TRUE(std::ranges::all_of(all, alive));
  ::kill(starter, SIGKILL);
  ::waitpid(starter, nullptr, 0);
  EXPECT_TRUE(runUntil([&] { return noneAlive(all); }));
}

pid_t parentOf(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string stat(std::istreambuf_iterator<char>(file), {});
  return std::stoi(stat.substr(stat.rfind(')') + 4));
}

TEST_F(ChildProcessTest, ItsGuardMindsNoSignalThatIsForAllProcesses) {
  start("trap '' TERM INT HUP USR1; echo up; while :; do sleep 0.01; done");
  ASSERT_TRUE(runUntilOutput("up\n"));
  const pid_t guard = parentOf(child->pid());
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE, SIGQUIT}) {
    ::kill(guard, signal);
  }
  child->kill();
  ASSERT_TRUE(runUntilExit());
  EXPECT_EQ(how, "signal 9");
  EXPECT_FALSE(alive(child->pid()));
}

TEST_F(ChildProcessTest, EndsWithItsGuard) {
  start("sleep 1000 & echo $! > " + folder.path("grandchild") + "; echo up; wait");
  ASSERT_TRUE(runUntilOutput("up\n"));
  const pid_t grandchild = std::stoi(folder.content("grandchild"));
  const pid_t pid = child->pid();
  ::kill(parentOf(pid), SIGKILL);
  ASSERT_TRUE(runUntilExit());
  EXPECT_EQ(how, "signal 9");
  EXPECT_TRUE(runUntil([&] { return !alive(pid) && !alive(grandchild); }));
}

TEST_F(ChildProcessTest, ASocketToListenOnIsNamedAsSystemdDoes) {
  ::setenv("LISTEN_FDNAMES", "of-another-program", 1);
  const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  auto started = ChildProcess::start(
      loop,
      {.arguments = {"/bin/sh", "-c",
                     "echo $LISTEN_FDS $((LISTEN_PID - $$)) ${LISTEN_FDNAMES-none}; "
                     "readlink /proc/$$/fd/3 | cut -c1-7"},
       .descriptor = socket.get(),
       .descriptor_is_socket = true},
      [this](const std::string&) { ++exits; });
  ::unsetenv("LISTEN_FDNAMES");
  ASSERT_TRUE(started.has_value()) << started.error().message;
  child = std::move(*started);
  output = child->takeOutput();
  ASSERT_TRUE(runUntilExit());
  EXPECT_EQ(available(output.standard_output), "1 0 none\nsocket:\n");
}

TEST_F(ChildProcessTest, DiesWithTheProcessThatStartedIt) {
  // A program that starts a child and is killed itself, as the proxy may be.
  int pipe_ends[2];
  ASSERT_EQ(::pipe(pipe_ends), 0);
  const pid_t starter = ::fork();
  if (starter == 0) {
    // Should the test end early.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    net::EventLoop own(clock);
    auto started =
        ChildProcess::start(own, {.arguments = {"/bin/sh", "-c", "echo up; exec sleep 1000"}},
                            [](const std::string&) {});
    const ChildProcess::Output its = started.value()->takeOutput();
    net::runUntil(own, [&] { return available(its.standard_output) == "up\n"; });
    const pid_t pid = started.value()->pid();
    std::ignore = ::write(pipe_ends[1], &pid, sizeof pid);
    ::pause();
    ::_exit(0);
  }
  pid_t pid = 0;
  ASSERT_EQ(::read(pipe_ends[0], &pid, sizeof pid), static_cast<ssize_t>(sizeof pid));
  ASSERT_TRUE(alive(pid));
  ::kill(starter, SIGKILL);
  ::waitpid(starter, nullptr, 0);
  EXPECT_TRUE(runUntil([&] { return !alive(pid); }));
  ::close(pipe_ends[0]);
  ::close(pipe_ends[1]);
}

TEST_F(ChildProcessTest, AProgramThatCannotBeRunEndsAtOnceAndSaysWhy) {
  auto started =
      ChildProcess::start(loop, {.arguments = {folder.path("none")}}, [this](const std::string& h) {
        ++exits;
        how = h;
      });
  ASSERT_TRUE(started.has_value());
  ASSERT_TRUE(runUntilExit());
  EXPECT_EQ(how, "exit code 127");
  EXPECT_THAT(available((*started)->takeOutput().standard_error), HasSubstr("none"));
}

}  // namespace
}  // namespace penstock::net
