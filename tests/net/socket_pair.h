#pragma once

#include <array>
#include <cerrno>
#include <string>
#include <string_view>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "net/address.h"
#include "net/listener.h"
#include "net/socket.h"
#include "net/unique_fd.h"

namespace penstock::net {

// Two ends of one TCP connection on loopback: near for the code under test, far (non-blocking too)
// for the test.
struct SocketPair {
  SocketPair() {
    const UniqueFd listening = listenOn(Address::loopback(0), false).value();
    const Address address = boundAddress(listening.get());
    far = streamSocket(address).value();
    ::fcntl(far.get(), F_SETFL, 0);
    EXPECT_EQ(::connect(far.get(), address.sockaddrPointer(), address.size()), 0);
    ::fcntl(far.get(), F_SETFL, O_NONBLOCK);
    ::fcntl(listening.get(), F_SETFL, 0);
    near = UniqueFd(::accept4(listening.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    EXPECT_TRUE(near.valid());
  }

  // As much of text as the socket takes; returns how much.
  std::size_t farSends(std::string_view text) const {
    const ssize_t sent = ::send(far.get(), text.data(), text.size(), MSG_NOSIGNAL);
    return sent < 0 ? 0 : static_cast<std::size_t>(sent);
  }
  // Adds what has come to text; false at the end of file or after an error.
  bool farReads(std::string& text) const {
    std::array<char, 16384> bytes;
    for (;;) {
      const ssize_t count = ::recv(far.get(), bytes.data(), bytes.size(), 0);
      if (count <= 0) {
        return count < 0 && errno == EAGAIN;
      }
      text.append(bytes.data(), static_cast<std::size_t>(count));
    }
  }
  // Closes with a reset instead of an end of file.
  void farResets() {
    const linger now{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(far.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    far.reset();
  }

  UniqueFd near;
  UniqueFd far;
};

}  // namespace penstock::net
