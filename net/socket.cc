#include "net/socket.h"

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/listener.h"
#include "net/unique_fd.h"

namespace penstock::net {
namespace {

constexpr const char* kInUse = "another program listens there; end it, or choose another address";

}  // namespace

void UniqueFd::reset() {
  if (fd_ >= 0) {
    // Linux frees the descriptor whatever close answers.
    ::close(fd_);
    fd_ = -1;
  }
}

Result<UniqueFd> streamSocket(const Address& address) {
  UniqueFd fd(::socket(address.sockaddrPointer()->sa_family,
                       SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) {
    return failure(
        fmt::format("cannot make a socket for {}: {}", address.toString(), std::strerror(errno)));
  }
  return fd;
}

void setNoDelay(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

void setKeepAlive(int fd) {
  const auto set = [fd](int level, int option, int value) {
    ::setsockopt(fd, level, option, &value, sizeof value);
  };
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 60);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set(IPPROTO_TCP, TCP_KEEPCNT, 3);
}

void setUserTimeout(int fd, Duration timeout) {
  const auto milliseconds =
      static_cast<unsigned>(std::chrono::duration_cast<std::chrono::milliseconds>(timeout).count());
  ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, sizeof milliseconds);
}

Result<UniqueFd> listenOn(const Address& address, bool reuse_port, int backlog) {
  Result<UniqueFd> fd = streamSocket(address);
  if (!fd) {
    return fd;
  }
  const int on = 1;
  ::setsockopt(fd->get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (reuse_port) {
    ::setsockopt(fd->get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  }
  if (::bind(fd->get(), address.sockaddrPointer(), address.size()) != 0 ||
      ::listen(fd->get(), backlog) != 0) {
    return failure(fmt::format("cannot listen on {}: {}", address.toString(),
                               errno == EADDRINUSE ? kInUse : std::strerror(errno)));
  }
  return fd;
}

Result<UniqueFd> bindTo(const Address& address) {
  Result<UniqueFd> fd = streamSocket(address);
  if (!fd) {
    return fd;
  }
  const int on = 1;
  ::setsockopt(fd->get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd->get(), address.sockaddrPointer(), address.size()) != 0) {
    return failure(fmt::format("cannot bind {}: {}", address.toString(), std::strerror(errno)));
  }
  return fd;
}

Result<UniqueFd> listenOn(UniqueFd bound, const Address& address, int backlog) {
  const std::string found = boundAddress(bound.get()).toString();
  if (found != address.toString()) {
    return failure(fmt::format(
        "expected a socket bound to {}, got one bound to {} from the program that started this one",
        address.toString(), found));
  }
  ::fcntl(bound.get(), F_SETFD, FD_CLOEXEC);
  ::fcntl(bound.get(), F_SETFL, ::fcntl(bound.get(), F_GETFL) | O_NONBLOCK);
  if (::listen(bound.get(), backlog) != 0) {
    return failure(fmt::format("cannot listen on {}: {}", found, std::strerror(errno)));
  }
  return bound;
}

UniqueFd takeInheritedSocket() {
  constexpr int kFirst = 3;
  const char* const pid = std::getenv("LISTEN_PID");
  const char* const count = std::getenv("LISTEN_FDS");
  const bool is_ours = pid != nullptr && count != nullptr && std::string_view(count) == "1" &&
                       pid == std::to_string(::getpid());
  for (const char* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) {
    ::unsetenv(name);
  }
  return UniqueFd(is_ours ? kFirst : -1);
}

bool isInUse(const Error& error) {
  return error.message.ends_with(kInUse);
}

// SO_REUSEPORT lets sockets share an address, those of any program of the same user. So the first
// one does without it until it listens, which the kernel allows one socket only; from then on it
// admits this program's others, and refuses each program that begins as this one did.
Result<std::vector<UniqueFd>> listenOnEach(const Address& address, std::size_t count, bool shared) {
  std::vector<UniqueFd> sockets;
  // With port 0 the first socket decides the port that the others share.
  Address bound = address;
  while (sockets.size() < count) {
    Result<UniqueFd> socket = listenOn(bound, shared || !sockets.empty());
    if (!socket) {
      return std::unexpected(socket.error());
    }
    if (sockets.empty()) {
      bound = boundAddress(socket->get());
      const int on = 1;
      if (count > 1) {
        ::setsockopt(socket->get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
      }
    }
    sockets.push_back(std::move(*socket));
  }
  return sockets;
}

Address boundAddress(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) {
    return {};
  }
  return Address::fromSockaddr(reinterpret_cast<const sockaddr*>(&storage), size);
}

}  // namespace penstock::net
