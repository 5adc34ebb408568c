#pragma once

#include <array>
#include <string>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "net/address.h"

namespace penstock::net {

// What this process has set on its socket between these two addresses.
class SocketOptions {
 public:
  SocketOptions(const Address& local, const Address& peer) {
    for (int fd = 3; fd < 1024 && fd_ < 0; ++fd) {
      if (addressOf(fd, ::getsockname) == local.toString() &&
          addressOf(fd, ::getpeername) == peer.toString()) {
        fd_ = fd;
      }
    }
  }
  bool found() const { return fd_ >= 0; }
  // SO_KEEPALIVE, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT.
  std::array<int, 4> keepAlive() const {
    return {get(SOL_SOCKET, SO_KEEPALIVE), get(IPPROTO_TCP, TCP_KEEPIDLE),
            get(IPPROTO_TCP, TCP_KEEPINTVL), get(IPPROTO_TCP, TCP_KEEPCNT)};
  }
  int userTimeoutMs() const { return get(IPPROTO_TCP, TCP_USER_TIMEOUT); }

 private:
  static std::string addressOf(int fd, int (*ask)(int, sockaddr*, socklen_t*) noexcept) {
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    auto* address = reinterpret_cast<sockaddr*>(&storage);
    if (ask(fd, address, &size) != 0 || storage.ss_family != AF_INET) {
      return {};
    }
    return Address::fromSockaddr(address, size).toString();
  }
  int get(int level, int option) const {
    int value = -1;
    socklen_t size = sizeof value;
    ::getsockopt(fd_, level, option, &value, &size);
    return value;
  }

  int fd_ = -1;
};

}  // namespace penstock::net
