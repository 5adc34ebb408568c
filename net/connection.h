#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/deadline.h"
#include "net/address.h"
#include "net/buffer.h"
#include "net/event_loop.h"
#include "net/tls.h"
#include "net/unique_fd.h"

namespace penstock::net {

enum class CloseReason {
  kNone,
  kLocal,          // close() was called
  kPeerClosed,     // end of file
  kPeerReset,      // ECONNRESET, EPIPE
  kConnectFailed,  // refused, unreachable
  kConnectTimeout,
  kHandshakeFailed,  // TLS: bad peer, bad certificate, no common protocol
  kHandshakeTimeout,
  kWriteTimeout,  // output waited too long without a byte of progress
  kIoError,
};
std::string_view toString(CloseReason reason);

// Why a connection is not being read; a set, so that each reason ends on its own.
enum class PauseReason : std::uint8_t {
  kBodyBuffered = 1,    // the consumer of a body is slow
  kOutputBuffered = 2,  // the peer does not read what it asked for
  kPipelined = 4,       // HTTP/1: the request before is not answered yet
  kOverloaded = 8,
};

// Who uses a connection: a codec. All calls come from the loop's thread. During any of them the
// handler may call anything on the connection; to free the connection it uses
// EventLoop::destroyLater.
class ConnectionHandler {
 public:
  virtual ~ConnectionHandler() = default;
  // Connected, and the TLS handshake done: alpn() is known. Called once, before anything else; for
  // an accepted plain connection from start().
  virtual void onConnected() = 0;
  // Bytes as read, valid during the call. All of them are taken.
  virtual void onBytes(std::span<const std::uint8_t> bytes) = 0;
  // About to write: append more to output() (the connection asks again after each successful write,
  // as long as something is appended and the socket takes it). Never called inside onBytes.
  virtual void onFillOutput(Buffer& output) = 0;
  // The peer sent its end of file; writing may go on. Default in a codec: close.
  virtual void onPeerClosed() = 0;
  // The last call: the descriptor is closed, for whatever reason but close() by the handler itself.
  virtual void onClosed(CloseReason reason) = 0;
};

// One stream connection, plain or TLS, non-blocking, with an output buffer that is written at most
// once per turn (and when the socket becomes writable). Reads into a buffer that all connections of
// the thread share, so an idle connection owns no buffer. A peer that has vanished without a word
// is noticed by TCP itself, which the loop sees as a reset. Loop thread only.
class Connection {
 public:
  struct Options {
    Duration write_timeout = std::chrono::seconds(30);      // without progress while output waits
    Duration handshake_timeout = std::chrono::seconds(10);  // TLS
  };

  // An accepted descriptor. tls may be null; it outlives the connection.
  Connection(EventLoop& loop, UniqueFd fd, const Address& peer, const TlsContext* tls,
             Options options);
  // Begins to connect to peer.
  static std::unique_ptr<Connection> connect(EventLoop& loop, const Address& peer,
                                             const TlsContext* tls, Deadline connect_deadline,
                                             Options options);
  ~Connection();

  // From now on TCP ends the connection when the peer acknowledges nothing, or takes nothing, of
  // what is in the kernel's buffer for the write timeout. Not for a server that leaves a request
  // unread while it works on another, as those over HTTP/1 do.
  void requireProgress();
  // Names the handler and begins. The handler outlives the connection or is its owner.
  void start(ConnectionHandler& handler);

  // Bytes to be written. After appending outside onFillOutput, call flushLater().
  Buffer& output();
  // How much of what was given to output() is not in the kernel's hands; once the connection has
  // ended: never came there.
  std::size_t unwritten() const;
  // Asks for onFillOutput and a write later in this turn.
  void flushLater();

  void pause(PauseReason reason);
  void resume(PauseReason reason);

  // Writes what is in output(), then ends this direction; reading goes on. Nothing may be appended
  // after it.
  void endOutput();
  // Closes at once, dropping what was not written. No onClosed.
  void close();
  // Writes what is in output() and what onFillOutput adds, then shuts down writing, waits (bounded:
  // 1 s, 64 KiB) for the peer to close, and closes: so that a final answer is not lost to a reset.
  // onClosed then comes with kLocal.
  void closeAfterFlush();
  bool isOpen() const;
  // Why it could not be made, for a person: "Connection refused", "certificate verify failed:
  // certificate has expired". Empty if there is no more to say than the CloseReason does.
  std::string_view failure() const;
  // Looks at the socket itself (one system call): whether neither bytes nor an end of file wait to
  // be read. For a connection that was idle and is about to be used again.
  bool nothingToRead() const;

  // Looks at the socket itself (one system call): whether the peer has reset it. Once the peer has
  // ended its direction nothing is read any more, so that only writing would tell.
  bool isReset() const;

  // "h2", "http/1.1", or empty when not TLS.
  std::string_view alpn() const;
  bool isTls() const;
  const Address& peer() const;
  // Address of this side.
  Address local() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Both for a person: "handshake_failed: certificate verify failed: certificate has expired".
std::string describe(CloseReason reason, const Connection& connection);

}  // namespace penstock::net
