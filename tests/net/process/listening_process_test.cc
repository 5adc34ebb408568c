// Real servers: a few lines of Python in children of their own.

#include "net/process/listening_process.h"

#include <csignal>
#include <string>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/listener.h"
#include "net/process/child_process.h"
#include "tests/support/loop_runner.h"
#include "tests/support/temporary_folder.h"

namespace penstock::net {
namespace {

constexpr Stranger kAny = Stranger::kMayBeStartedByIt;

class ListeningProcessTest : public ::testing::Test {
 protected:
  std::unique_ptr<ChildProcess> run(const std::string& script) {
    return ChildProcess::start(loop, {.arguments = {"/bin/sh", "-c", script}},
                               [](const std::string&) {})
        .value();
  }
  // A shell command that listens at any port and writes its address to a file.
  std::string server() const {
    return "/usr/bin/python3 -c 'import os, socket, time; s = socket.create_server((\"127.0.0.1\", "
           "0)); "
           "open(\"" +
           folder.path("new") +
           "\", \"w\").write(\"%s:%d\" % s.getsockname()); "
           "os.rename(\"" +
           folder.path("new") + "\", \"" + folder.path("address") + "\"); time.sleep(1000)'";
  }
  Address itsAddress() {
    EXPECT_TRUE(
        runUntil(loop, [&] { return ::access(folder.path("address").c_str(), F_OK) == 0; }));
    return Address::parse(folder.content("address")).value();
  }

  SteadyClock clock;
  EventLoop loop{clock};
  TemporaryFolder folder;
};

TEST_F(ListeningProcessTest, IsTheChild) {
  const auto child = run("exec " + server());
  EXPECT_TRUE(child->mayListenAt(itsAddress(), kAny));
}

TEST_F(ListeningProcessTest, MayBeAnyProcessBelowTheChild) {
  const auto child = run("(setsid " + server() + " &); sleep 1000");
  EXPECT_TRUE(child->mayListenAt(itsAddress(), kAny));
  EXPECT_TRUE(child->mayListenAt(itsAddress(), Stranger::kNever));
}

TEST_F(ListeningProcessTest, IsNotAnotherChild) {
  const auto child = run("sleep 1000");
  const auto other = run("exec " + server());
  EXPECT_FALSE(child->mayListenAt(itsAddress(), kAny));
}

TEST_F(ListeningProcessTest, IsNotAProgramThatWasThereBefore) {
  const UniqueFd own = listenOn(Address::loopback(0), false).value();
  // Start times are counted in hundredths of a second.
  std::unique_ptr<ChildProcess> child;
  EXPECT_TRUE(runUntil(loop, [&] {
    child = run("sleep 1000");
    return !child->mayListenAt(boundAddress(own.get()), kAny);
  }));
}

TEST_F(ListeningProcessTest, MayBeAYoungerProgramOnlyWhereThatCouldBeStartedByIt) {
  const auto child = run("sleep 1000");
  const std::string command = "exec " + server();
  const pid_t younger = ::fork();
  if (younger == 0) {
    ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    ::_exit(1);
  }
  const Address address = itsAddress();
  EXPECT_TRUE(child->mayListenAt(address, kAny));
  EXPECT_FALSE(child->mayListenAt(address, Stranger::kNever));
  ::kill(younger, SIGKILL);
  ::waitpid(younger, nullptr, 0);
}

TEST_F(ListeningProcessTest, MayBeAnybodyWhereNobodyIsSeen) {
  const auto child = run("sleep 1000");
  const Address address = boundAddress(listenOn(Address::loopback(0), false).value().get());
  EXPECT_TRUE(child->mayListenAt(address, kAny));
}

}  // namespace
}  // namespace penstock::net
