#pragma once

#include <array>
#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "net/unique_fd.h"

namespace penstock::http {

// The far end of a socket pair, bytes by hand.
class PlainPeer {
 public:
  // Makes the pair; the near end is what a net::Connection is made of.
  static std::pair<PlainPeer, net::UniqueFd> make() {
    std::array<int, 2> fds{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data()), 0);
    return {PlainPeer(net::UniqueFd(fds[0])), net::UniqueFd(fds[1])};
  }

  explicit PlainPeer(net::UniqueFd fd) : fd_(std::move(fd)) {}

  // As much as the socket takes is sent now, the rest with later calls of poll().
  void send(std::string_view bytes) {
    unsent_ += bytes;
    flush();
  }
  void shutdownWriting() { ::shutdown(fd_.get(), SHUT_WR); }
  void close() { fd_.reset(); }
  void stopReading() { reading_ = false; }
  void startReading() { reading_ = true; }

  // Writes and reads what can be; whether anything moved.
  bool poll() {
    if (!fd_.valid()) {
      return false;
    }
    bool moved = flush();
    std::array<char, 65536> buffer;
    while (reading_) {
      const ssize_t count = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
      if (count <= 0) {
        closed_ = closed_ || count == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
        break;
      }
      received_.append(buffer.data(), static_cast<std::size_t>(count));
      moved = true;
    }
    return moved;
  }
  // What came since the last take().
  std::string take() { return std::exchange(received_, {}); }
  const std::string& received() const { return received_; }
  // Whether the near end has closed, or ended its direction.
  bool closed() const { return closed_; }
  std::size_t unsent() const { return unsent_.size(); }

 private:
  bool flush() {
    const ssize_t count = ::send(fd_.get(), unsent_.data(), unsent_.size(), MSG_NOSIGNAL);
    if (count <= 0) {
      return false;
    }
    unsent_.erase(0, static_cast<std::size_t>(count));
    return true;
  }

  net::UniqueFd fd_;
  std::string unsent_;
  std::string received_;
  bool closed_ = false;
  bool reading_ = true;
};

}  // namespace penstock::http
