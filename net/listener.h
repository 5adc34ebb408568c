#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "base/result.h"
#include "net/address.h"
#include "net/event_loop.h"
#include "net/unique_fd.h"

namespace penstock::net {

// A bound, listening, non-blocking, close-on-exec socket. reuse_port: several may share the
// address.
Result<UniqueFd> listenOn(const Address& address, bool reuse_port, int backlog = 4096);
// Bound, and not listening.
Result<UniqueFd> bindTo(const Address& address);
// Makes one listen that another program has bound and handed over. An error if its address is
// another one.
Result<UniqueFd> listenOn(UniqueFd bound, const Address& address, int backlog = 4096);
// The socket that another program handed to this one, as systemd does (LISTEN_PID, LISTEN_FDS);
// none if it did not. To be called once, before any descriptor is opened.
UniqueFd takeInheritedSocket();
// `count` of them at one address, among which the kernel spreads connections: for the threads of
// one program. shared: other programs of the same user may do so too; otherwise it is an error if
// any socket listens there, and nobody can begin to who does not ask for sharing.
Result<std::vector<UniqueFd>> listenOnEach(const Address& address, std::size_t count, bool shared);
// Whether that is why an address could not be listened on.
bool isInUse(const Error& error);
// The address it is bound to (for port 0).
Address boundAddress(int fd);

// Accepts connections on a listening socket. When the process or the system runs out of descriptors
// (EMFILE, ENFILE, ENOBUFS, ENOMEM) it stops accepting, calls onExhausted so that idle connections
// can be closed, and tries again after 100 ms. Loop thread only. The handler may call anything on
// the listener; to free it inside a call it uses EventLoop::destroyLater.
class Listener {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    // A new connection: non-blocking, TCP_NODELAY, close-on-exec.
    virtual void onAccept(UniqueFd fd, const Address& peer) = 0;
    virtual void onExhausted() = 0;
  };

  // reserved: descriptors held back for its connections. When there are no others left, each lets
  // one more be accepted; another one is held back as soon as one is free, looked for every 100 ms
  // and after reclaim().
  Listener(EventLoop& loop, UniqueFd fd, Handler& handler, std::size_t reserved = 0);
  ~Listener();

  // Stops and restarts accepting, for a connection limit: what is not accepted waits in the
  // backlog.
  void setAccepting(bool accepting);
  // One of its connections is closed in this turn: in the next, what that sets free is held back
  // before others take it.
  void reclaim();
  Address address() const;
  // Stops for good and closes the socket.
  void close();
  // Likewise, after handing over what has connected already (at most the backlog's length): closing
  // alone would reset it.
  void closeAfterBacklog();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace penstock::net
