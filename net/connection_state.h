#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/connection.h"
#include "net/tls_session.h"

namespace penstock::net {

// What a Connection is inside: connection.cc has its life, connection_io.cc its reading and
// writing.
struct Connection::State {
  enum class Phase : std::uint8_t {
    kConnecting,
    kHandshaking,
    kOpen,
    kFlushing,   // closeAfterFlush(): only writes
    kLingering,  // all is written; waits for the peer to close
    kClosed,
  };

  // Which of the two sides asked for the connection, and so waits for answers on it.
  enum class Side : std::uint8_t { kAccepted, kConnected };

  State(EventLoop& loop, UniqueFd fd, const Address& peer, Phase phase, Options options);

  void setTls(const TlsContext& context);
  void start(ConnectionHandler& handler);
  void closeAfterFlush();
  void closeNow();
  // Closes and tells the handler: its last call.
  void fail(CloseReason reason);
  bool writes() const {
    return write_error == 0 && (phase == Phase::kOpen || phase == Phase::kFlushing);
  }

  void onReady(FdWatch::Ready ready);
  void onTimer();
  void updateWatch();
  void finishConnecting();
  void becomeOpen();

  void onReadable();
  void onReadableWhilePaused();
  void deliver(std::span<const std::uint8_t> bytes);
  void continueHandshake();
  void deliverDecrypted();
  void onEndOfFile();
  void onReadError(int error);
  void onWriteError(int error);
  void discard();

  void onFlush();
  void flush();
  std::size_t waiting() const { return output.size() + wire.size(); }
  // Writes once what fits; false if the connection failed of it. Sets blocked.
  bool writeSome(std::size_t& written);
  bool send(Buffer& bytes, std::size_t& written);
  void onDrained();
  void linger();

  EventLoop& loop;
  Options options;
  ConnectionHandler* handler = nullptr;
  Buffer output;
  // TLS: what is encrypted and not yet sent.
  Buffer wire;
  std::unique_ptr<TlsSession> tls;
  std::string_view alpn;
  std::string failure;
  Deadline connect_deadline = Deadline::never();
  std::uint32_t linger_bytes = 0;
  std::size_t dropped_bytes = 0;  // what waited when it was closed
  // Why nothing more can be written, while what the peer has sent before is still read.
  int write_error = 0;
  Phase phase;
  Side side = Side::kAccepted;
  // Why the connection ends as soon as the loop gets there; kNone: it does not.
  CloseReason ending = CloseReason::kNone;
  std::uint8_t pause_reasons = 0;
  bool is_tls = false;
  bool blocked = false;
  bool read_closed = false;
  // Readiness for reading came while nobody wanted it, so it is not watched.
  bool read_suspended = false;
  bool ends_output = false;
  bool said_goodbye = false;
  bool received_any = false;
  Address peer;
  // Before the watch, which ends first.
  UniqueFd fd;
  std::optional<FdWatch> watch;
  // Connecting, handshake, progress of writing or lingering, by the phase.
  Timer timer;
  Deferred flush_work;
};

}  // namespace penstock::net
