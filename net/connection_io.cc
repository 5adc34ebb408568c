#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <span>
#include <system_error>
#include <utility>

#include <sys/socket.h>
#include <sys/uio.h>

#include "net/connection_state.h"

namespace penstock::net {

namespace {

constexpr std::size_t kReadSize = 64 * 1024;
// What one connection may read and write in one turn before others have theirs.
constexpr int kReadsPerTurn = 4;
constexpr std::size_t kWrittenPerTurn = 1024 * 1024;
// While more than this waits, the handler is not asked for more.
constexpr std::size_t kAskBelow = 64 * 1024;
constexpr std::size_t kEncryptedAtOnce = 64 * 1024;
// Only a peer that provokes TLS answers and reads none gets there.
constexpr std::size_t kMaxWire = 4 * kEncryptedAtOnce;
constexpr int kPiecesPerWrite = 64;

// Shared by all connections of the thread; what is in it does not outlive a callback.
template <typename Use>
std::span<std::uint8_t> sharedBuffer() {
  thread_local const auto buffer = std::make_unique_for_overwrite<std::uint8_t[]>(kReadSize);
  return {buffer.get(), kReadSize};
}
struct FromSocket {};
struct Decrypted {};

bool wouldBlock(int error) {
  return error == EAGAIN || error == EWOULDBLOCK;
}

bool isGone(int error) {
  return error == ECONNRESET || error == EPIPE;
}

}  // namespace

void Connection::State::onReadable() {
  if (phase == Phase::kLingering) {
    discard();
    return;
  }
  if (phase == Phase::kFlushing || (phase == Phase::kOpen && pause_reasons != 0)) {
    onReadableWhilePaused();
    return;
  }
  const std::span<std::uint8_t> buffer = sharedBuffer<FromSocket>();
  for (int reads = 0; reads < kReadsPerTurn; ++reads) {
    const ssize_t count = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
    if (count < 0) {
      onReadError(errno);
      return;
    }
    if (count == 0) {
      onEndOfFile();
      return;
    }
    const auto bytes = buffer.first(static_cast<std::size_t>(count));
    deliver(bytes);
    const bool wants_more = phase == Phase::kOpen || phase == Phase::kHandshaking;
    if (!wants_more || pause_reasons != 0 || read_closed || bytes.size() < buffer.size()) {
      return;
    }
  }
}

// Data waits until it is wanted. That a plain peer left with nothing unread is told at once.
void Connection::State::onReadableWhilePaused() {
  if (phase == Phase::kOpen && tls == nullptr) {
    std::uint8_t byte = 0;
    const ssize_t count = ::recv(fd.get(), &byte, 1, MSG_PEEK);
    if (count == 0) {
      onEndOfFile();
      return;
    }
    if (count < 0) {
      onReadError(errno);
      return;
    }
  }
  read_suspended = true;
  updateWatch();
}

void Connection::State::deliver(std::span<const std::uint8_t> bytes) {
  if (tls == nullptr) {
    handler->onBytes(bytes);
    return;
  }
  tls->feed(bytes);
  if (phase == Phase::kHandshaking) {
    continueHandshake();
  }
  if (phase == Phase::kOpen) {
    deliverDecrypted();
  }
}

void Connection::State::continueHandshake() {
  const TlsSession::Handshake result = tls->handshake();
  if (!wire.empty()) {
    std::size_t written = 0;
    if (!send(wire, written)) {
      return;
    }
    updateWatch();
  }
  if (result == TlsSession::Handshake::kFailed) {
    failure = tls->failure();
    fail(CloseReason::kHandshakeFailed);
  } else if (result == TlsSession::Handshake::kDone) {
    alpn = tls->alpn();
    phase = Phase::kOpen;
    timer.disarm();
    if (blocked) {
      timer.armAfter(options.write_timeout);
    } else if (!wire.empty()) {
      flush_work.schedule();
    }
    handler->onConnected();
  }
}

void Connection::State::deliverDecrypted() {
  const std::span<std::uint8_t> buffer = sharedBuffer<Decrypted>();
  auto last = TlsSession::Read::kBytes;
  while (last == TlsSession::Read::kBytes && phase == Phase::kOpen) {
    std::size_t filled = 0;
    while (filled < buffer.size() && last == TlsSession::Read::kBytes) {
      std::size_t count = 0;
      last = tls->read(buffer.subspan(filled), count);
      filled += count;
    }
    if (filled > 0) {
      received_any = true;
      handler->onBytes(buffer.first(filled));
    }
  }
  if (phase == Phase::kClosed) {
    return;
  }
  if (wire.size() > kMaxWire) {
    fail(CloseReason::kIoError);
    return;
  }
  if (!wire.empty()) {
    flush_work.schedule();
  }
  if (last == TlsSession::Read::kClosed) {
    onEndOfFile();
  } else if (last == TlsSession::Read::kFailed) {
    std::size_t written = 0;
    if (!wire.empty() && !send(wire, written)) {
      return;
    }
    // In TLS 1.3 a server refuses the client's certificate when the client's handshake is over.
    failure = received_any ? std::string() : tls->failure();
    fail(received_any ? CloseReason::kIoError : CloseReason::kHandshakeFailed);
  }
}

void Connection::State::onEndOfFile() {
  if (read_closed) {
    return;
  }
  if (phase == Phase::kHandshaking) {
    failure = "the peer ended the connection in the handshake";
    fail(CloseReason::kHandshakeFailed);
    return;
  }
  if (write_error == ECONNRESET || (tls != nullptr && !tls->peerSaidGoodbye())) {
    // Cut off: what was read may not be all that was sent.
    fail(CloseReason::kPeerReset);
    return;
  }
  read_closed = true;
  updateWatch();
  handler->onPeerClosed();
}

void Connection::State::onReadError(int error) {
  if (wouldBlock(error) || error == EINTR) {
    return;
  }
  if (phase == Phase::kHandshaking) {
    failure = std::generic_category().message(error);
    fail(CloseReason::kHandshakeFailed);
    return;
  }
  if (error == ETIMEDOUT && waiting() > 0) {
    fail(CloseReason::kWriteTimeout);  // the kernel's patience was shorter than the timer's
    return;
  }
  fail(isGone(error) || error == ETIMEDOUT ? CloseReason::kPeerReset : CloseReason::kIoError);
}

// A peer that has said all it has to say may close while more is sent to it: its answer is read
// first. The error of the socket is used up, so an end of file that follows a reset is no end.
void Connection::State::onWriteError(int error) {
  if (side != Side::kConnected || phase != Phase::kOpen || read_closed || !isGone(error)) {
    onReadError(error);
    return;
  }
  write_error = error;
  blocked = false;
  timer.disarm();
  updateWatch();
  onReadable();
}

void Connection::State::discard() {
  const std::span<std::uint8_t> buffer = sharedBuffer<FromSocket>();
  const ssize_t count = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
  if (count < 0 && (wouldBlock(errno) || errno == EINTR)) {
    return;
  }
  if (count <= 0 || static_cast<std::uint32_t>(count) >= linger_bytes) {
    fail(CloseReason::kLocal);
    return;
  }
  linger_bytes -= static_cast<std::uint32_t>(count);
}

void Connection::State::onFlush() {
  if (ending != CloseReason::kNone) {
    fail(ending);
  } else if (phase == Phase::kHandshaking) {
    std::size_t written = 0;
    if (wire.empty() || send(wire, written)) {
      updateWatch();
    }
  } else if (writes() && !blocked) {
    flush();
  }
}

void Connection::State::flush() {
  std::size_t left = kWrittenPerTurn;
  for (;;) {
    if (waiting() < kAskBelow) {
      handler->onFillOutput(output);
      if (!writes()) {
        return;
      }
    }
    if (waiting() == 0) {
      onDrained();
      if (waiting() == 0) {
        return;
      }
    }
    std::size_t written = 0;
    if (!writeSome(written)) {
      return;
    }
    if (timer.armed() ? written > 0 : blocked) {
      timer.armAfter(options.write_timeout);
    }
    if (blocked) {
      updateWatch();
      return;
    }
    left -= std::min(left, written);
    if (left == 0) {
      flush_work.schedule();
      return;
    }
  }
}

void Connection::State::onDrained() {
  timer.disarm();
  if (phase == Phase::kFlushing || ends_output) {
    if (tls != nullptr && !std::exchange(said_goodbye, true)) {
      tls->sayGoodbye();
      return;
    }
    if (phase == Phase::kFlushing) {
      linger();
      return;
    }
    // Should it fail, reading tells.
    ::shutdown(fd.get(), SHUT_WR);
  }
  updateWatch();
}

bool Connection::State::writeSome(std::size_t& written) {
  if (tls == nullptr) {
    return send(output, written);
  }
  while (!output.empty() && wire.size() < kEncryptedAtOnce) {
    if (!tls->write(output)) {
      fail(CloseReason::kIoError);
      return false;
    }
  }
  return send(wire, written);
}

bool Connection::State::send(Buffer& bytes, std::size_t& written) {
  std::array<iovec, kPiecesPerWrite> pieces;
  const int count = bytes.pieces(pieces.data(), kPiecesPerWrite);
  std::size_t offered = 0;
  for (int i = 0; i < count; ++i) {
    offered += pieces[static_cast<std::size_t>(i)].iov_len;
  }
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = static_cast<std::size_t>(count);
  const ssize_t sent = ::sendmsg(fd.get(), &message, MSG_NOSIGNAL);
  if (sent < 0) {
    if (errno == EINTR) {
      return true;
    }
    if (!wouldBlock(errno)) {
      onWriteError(errno);
      return false;
    }
  }
  written = sent < 0 ? 0 : static_cast<std::size_t>(sent);
  bytes.drain(written);
  // A short write says that the socket is full without asking again.
  blocked = written < offered;
  return true;
}

}  // namespace penstock::net
