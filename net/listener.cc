#include "net/listener.h"

#include <cerrno>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>

#include "net/socket.h"

namespace penstock::net {

namespace {

// In one turn; the rest waits for the next, so that a flood of connections does not starve those
// that are open.
constexpr int kAcceptsPerTurn = 64;
// As a bound only; the kernel's backlog is shorter.
constexpr int kMaxBacklog = 65'536;
constexpr Duration kBackOff = std::chrono::milliseconds(100);

bool outOfResources(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

}  // namespace

struct Listener::State {
  State(EventLoop& loop, UniqueFd the_fd, Handler& the_handler, std::size_t to_reserve)
      : handler(the_handler),
        address(boundAddress(the_fd.get())),
        fd(std::move(the_fd)),
        reserved(to_reserve),
        retry(loop, [this] { endBackOff(); }) {
    fillReserve();
    watch.emplace(loop, fd.get(), [this](FdWatch::Ready) { acceptSome(kAcceptsPerTurn); });
    updateWatch();
  }

  void updateWatch() {
    if (watch) {
      watch->set(accepting && !backing_off, false);
    }
  }

  void acceptSome(int most) {
    for (int i = 0; i < most && accepting && watch; ++i) {
      sockaddr_storage storage{};
      socklen_t size = sizeof storage;
      auto* peer = reinterpret_cast<sockaddr*>(&storage);
      UniqueFd accepted(::accept4(fd.get(), peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (accepted.valid()) {
        setNoDelay(accepted.get());
        handler.onAccept(std::move(accepted), Address::fromSockaddr(peer, size));
      } else if (errno == EMFILE && !reserve.empty()) {
        reserve.pop_back();
        retry.armAfter(kBackOff);
      } else if (outOfResources(errno)) {
        backOff();
        return;
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        return;
      }
      // Else that one connection failed before it was accepted.
    }
  }

  // The connection that could not be accepted keeps the socket readable: watching it would spin.
  void backOff() {
    backing_off = true;
    updateWatch();
    retry.armAfter(kBackOff);
    handler.onExhausted();
  }

  void endBackOff() {
    backing_off = false;
    updateWatch();
    if (!fillReserve()) {
      retry.armAfter(kBackOff);
    }
  }

  // What the descriptors refer to does not matter.
  bool fillReserve() {
    while (reserve.size() < reserved) {
      UniqueFd held(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
      if (!held.valid()) {
        return false;
      }
      reserve.push_back(std::move(held));
    }
    return true;
  }

  Handler& handler;
  Address address;
  bool accepting = true;
  bool backing_off = false;
  UniqueFd fd;
  const std::size_t reserved;
  std::vector<UniqueFd> reserve;
  std::optional<FdWatch> watch;
  Timer retry;
};

Listener::Listener(EventLoop& loop, UniqueFd fd, Handler& handler, std::size_t reserved)
    : state_(std::make_unique<State>(loop, std::move(fd), handler, reserved)) {}

Listener::~Listener() = default;

void Listener::setAccepting(bool accepting) {
  state_->accepting = accepting;
  state_->updateWatch();
}

void Listener::reclaim() {
  if (state_->reserve.size() < state_->reserved && state_->fd.valid()) {
    state_->retry.armAfter(Duration::zero());
  }
}

Address Listener::address() const {
  return state_->address;
}

void Listener::closeAfterBacklog() {
  state_->accepting = true;
  state_->acceptSome(kMaxBacklog);
  close();
}

void Listener::close() {
  state_->retry.disarm();
  state_->watch.reset();
  state_->reserve.clear();
  state_->fd.reset();
}

}  // namespace penstock::net
