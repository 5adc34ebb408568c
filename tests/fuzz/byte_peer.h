#pragma once

#include <cerrno>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "net/address.h"
#include "net/connection.h"
#include "net/event_loop.h"
#include "net/unique_fd.h"
#include "tests/support/loop_runner.h"

namespace penstock::fuzz {

// The other end of a connection: sends what the fuzzer says, and reads and forgets what comes.
class BytePeer {
 public:
  BytePeer() {
    int ends[2];
    PENSTOCK_CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0,
                   "there are descriptors");
    ours_ = net::UniqueFd(ends[0]);
    theirs_ = net::UniqueFd(ends[1]);
  }

  // Once: the end for the code under test.
  std::unique_ptr<net::Connection> connection(net::EventLoop& loop) {
    return std::make_unique<net::Connection>(loop, std::move(theirs_), net::Address::loopback(1),
                                             nullptr, net::Connection::Options{});
  }

  void send(net::EventLoop& loop, std::string_view bytes) {
    for (int turns = 0; !bytes.empty() && turns < 100; ++turns) {
      const ssize_t sent = ::send(ours_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN) {
        return;
      }
      bytes.remove_prefix(sent < 0 ? 0 : static_cast<std::size_t>(sent));
      net::runTurn(loop);
      forget();
    }
    settle(loop);
  }
  void settle(net::EventLoop& loop) {
    for (int quiet = 0, turns = 0; quiet < 3 && turns < 100; ++quiet, ++turns) {
      net::runTurn(loop);
      if (forget()) {
        quiet = 0;
      }
    }
  }

 private:
  bool forget() {
    char block[64 * 1024];
    return ::recv(ours_.get(), block, sizeof block, 0) > 0;
  }

  net::UniqueFd ours_;
  net::UniqueFd theirs_;
};

}  // namespace penstock::fuzz
