#include "net/connection.h"

#include <cerrno>
#include <system_error>
#include <utility>

#include <poll.h>
#include <sys/socket.h>

#include "base/check.h"
#include "net/connection_state.h"
#include "net/listener.h"
#include "net/socket.h"

namespace penstock::net {

namespace {

constexpr Duration kLingerTime = std::chrono::seconds(1);
constexpr std::uint32_t kLingerBytes = 64 * 1024;

}  // namespace

std::string_view toString(CloseReason reason) {
  switch (reason) {
    case CloseReason::kNone:
      return "none";
    case CloseReason::kLocal:
      return "local";
    case CloseReason::kPeerClosed:
      return "peer_closed";
    case CloseReason::kPeerReset:
      return "peer_reset";
    case CloseReason::kConnectFailed:
      return "connect_failed";
    case CloseReason::kConnectTimeout:
      return "connect_timeout";
    case CloseReason::kHandshakeFailed:
      return "handshake_failed";
    case CloseReason::kHandshakeTimeout:
      return "handshake_timeout";
    case CloseReason::kWriteTimeout:
      return "write_timeout";
    case CloseReason::kIoError:
      return "io_error";
  }
  return "unknown";
}

std::string describe(CloseReason reason, const Connection& connection) {
  std::string text(toString(reason));
  if (!connection.failure().empty()) {
    text.append(": ").append(connection.failure());
  }
  return text;
}

Connection::State::State(EventLoop& the_loop, UniqueFd the_fd, const Address& the_peer,
                         Phase the_phase, Options the_options)
    : loop(the_loop),
      options(the_options),
      phase(the_phase),
      peer(the_peer),
      fd(std::move(the_fd)),
      timer(loop, [this] { onTimer(); }),
      flush_work(loop, [this] { onFlush(); }) {
  if (fd.valid()) {
    watch.emplace(loop, fd.get(), [this](FdWatch::Ready ready) { onReady(ready); });
  }
}

void Connection::State::setTls(const TlsContext& context) {
  is_tls = true;
  tls = std::make_unique<TlsSession>(context, peer, wire);
}

void Connection::State::start(ConnectionHandler& the_handler) {
  PENSTOCK_CHECK(handler == nullptr, "a connection is started once");
  handler = &the_handler;
  if (ending != CloseReason::kNone) {
    flush_work.schedule();
  } else if (phase == Phase::kConnecting) {
    timer.arm(connect_deadline.when());
    updateWatch();
  } else {
    becomeOpen();
  }
}

// The transport is there: the TLS handshake comes next, or the handler.
void Connection::State::becomeOpen() {
  if (tls != nullptr) {
    phase = Phase::kHandshaking;
    timer.armAfter(options.handshake_timeout);
    updateWatch();
    continueHandshake();
    return;
  }
  phase = Phase::kOpen;
  timer.disarm();
  updateWatch();
  handler->onConnected();
}

void Connection::State::onReady(FdWatch::Ready ready) {
  if (phase == Phase::kConnecting) {
    finishConnecting();
    return;
  }
  if (ready.writable) {
    blocked = false;
    flush_work.schedule();
  }
  if (ready.readable) {
    onReadable();
  }
}

void Connection::State::finishConnecting() {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) {
    failure = std::generic_category().message(error);
    fail(CloseReason::kConnectFailed);
    return;
  }
  const Address local = boundAddress(fd.get());
  if (local.port() == peer.port() && local.host() == peer.host()) {
    // Nobody listened, and the kernel happened to choose that very port for this side.
    fail(CloseReason::kConnectFailed);
    return;
  }
  becomeOpen();
}

void Connection::State::onTimer() {
  switch (phase) {
    case Phase::kConnecting:
      fail(CloseReason::kConnectTimeout);
      break;
    case Phase::kHandshaking:
      fail(CloseReason::kHandshakeTimeout);
      break;
    case Phase::kOpen:
    case Phase::kFlushing:
      fail(CloseReason::kWriteTimeout);
      break;
    case Phase::kLingering:
      fail(CloseReason::kLocal);
      break;
    case Phase::kClosed:
      break;
  }
}

void Connection::State::updateWatch() {
  if (watch) {
    const bool reads = phase != Phase::kConnecting && !read_closed && !read_suspended;
    watch->set(reads, blocked || phase == Phase::kConnecting);
  }
}

void Connection::State::closeAfterFlush() {
  if (phase == Phase::kOpen && write_error == 0) {
    phase = Phase::kFlushing;
    flush_work.schedule();
  } else if (phase == Phase::kOpen || phase == Phase::kConnecting || phase == Phase::kHandshaking) {
    ending = CloseReason::kLocal;
    flush_work.schedule();
  }
}

// All is written: the peer is told, and may take its time to read it before the socket is closed.
void Connection::State::linger() {
  if (read_closed || ::shutdown(fd.get(), SHUT_WR) != 0) {
    fail(CloseReason::kLocal);
    return;
  }
  phase = Phase::kLingering;
  linger_bytes = kLingerBytes;
  read_suspended = false;
  timer.armAfter(kLingerTime);
  updateWatch();
}

void Connection::State::closeNow() {
  dropped_bytes += waiting();
  phase = Phase::kClosed;
  watch.reset();
  fd.reset();
  tls.reset();
  timer.disarm();
  flush_work.cancel();
  output.clear();
  wire.clear();
}

void Connection::State::fail(CloseReason reason) {
  if (phase != Phase::kClosed) {
    closeNow();
    handler->onClosed(reason);
  }
}

Connection::Connection(EventLoop& loop, UniqueFd fd, const Address& peer, const TlsContext* tls,
                       Options options)
    : state_(
          std::make_unique<State>(loop, std::move(fd), peer, State::Phase::kHandshaking, options)) {
  if (tls != nullptr) {
    state_->setTls(*tls);
  }
  if (state_->fd.valid()) {
    setKeepAlive(state_->fd.get());
  }
}

void Connection::requireProgress() {
  setUserTimeout(state_->fd.get(), state_->options.write_timeout);
}

std::unique_ptr<Connection> Connection::connect(EventLoop& loop, const Address& peer,
                                                const TlsContext* tls, Deadline connect_deadline,
                                                Options options) {
  Result<UniqueFd> socket = streamSocket(peer);
  bool begun = false;
  std::string failure;
  if (socket) {
    setNoDelay(socket->get());
    begun =
        ::connect(socket->get(), peer.sockaddrPointer(), peer.size()) == 0 || errno == EINPROGRESS;
    failure = begun ? std::string() : std::generic_category().message(errno);
  } else {
    failure = socket.error().message;
  }
  auto connection = std::make_unique<Connection>(loop, begun ? std::move(*socket) : UniqueFd(),
                                                 peer, tls, options);
  State& state = *connection->state_;
  state.phase = State::Phase::kConnecting;
  state.side = State::Side::kConnected;
  state.failure = std::move(failure);
  state.connect_deadline = connect_deadline;
  state.ending = begun ? CloseReason::kNone : CloseReason::kConnectFailed;
  return connection;
}

Connection::~Connection() = default;

void Connection::start(ConnectionHandler& handler) {
  state_->start(handler);
}

Buffer& Connection::output() {
  return state_->output;
}

std::size_t Connection::unwritten() const {
  return state_->dropped_bytes + state_->waiting();
}

void Connection::flushLater() {
  if (state_->writes()) {
    state_->flush_work.schedule();
  }
}

void Connection::pause(PauseReason reason) {
  // The descriptor stays watched until something comes: a short pause costs nothing.
  state_->pause_reasons |= static_cast<std::uint8_t>(reason);
}

void Connection::resume(PauseReason reason) {
  State& state = *state_;
  state.pause_reasons &= static_cast<std::uint8_t>(~static_cast<unsigned>(reason));
  if (state.pause_reasons == 0 && state.read_suspended && state.phase == State::Phase::kOpen) {
    state.read_suspended = false;
    state.updateWatch();
  }
}

void Connection::close() {
  state_->closeNow();
}

void Connection::endOutput() {
  state_->ends_output = true;
  flushLater();
}

void Connection::closeAfterFlush() {
  state_->closeAfterFlush();
}

std::string_view Connection::failure() const {
  return state_->failure;
}

bool Connection::isOpen() const {
  return state_->phase != State::Phase::kClosed;
}

bool Connection::nothingToRead() const {
  std::uint8_t byte = 0;
  const ssize_t count = ::recv(state_->fd.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

bool Connection::isReset() const {
  pollfd look{.fd = state_->fd.get(), .events = 0, .revents = 0};
  return ::poll(&look, 1, 0) > 0 && (look.revents & (POLLERR | POLLHUP)) != 0;
}

std::string_view Connection::alpn() const {
  return state_->alpn;
}

bool Connection::isTls() const {
  return state_->is_tls;
}

const Address& Connection::peer() const {
  return state_->peer;
}

Address Connection::local() const {
  return boundAddress(state_->fd.get());
}

}  // namespace penstock::net
