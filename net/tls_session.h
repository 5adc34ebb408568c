#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "net/address.h"
#include "net/buffer.h"
#include "net/tls.h"

struct bio_st;
struct ssl_st;

namespace penstock::net {

// One TLS conversation without a socket: encrypted bytes are fed in, encrypted bytes come out in a
// buffer. It therefore never blocks, makes no system call and raises no SIGPIPE.
class TlsSession {
 public:
  enum class Handshake { kWantsBytes, kDone, kFailed };
  enum class Read { kBytes, kWantsBytes, kClosed, kFailed };

  // peer: what a client verifies when the context names no server. wire gets what is to be sent,
  // and outlives the session.
  TlsSession(const TlsContext& context, const Address& peer, Buffer& wire);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  // Bytes from the peer. They are gone when handshake() or read() next wants bytes, and stay valid
  // until then.
  void feed(std::span<const std::uint8_t> bytes) { input_ = bytes; }
  Handshake handshake();
  // After the handshake: decrypts into destination; count says how much.
  Read read(std::span<std::uint8_t> destination, std::size_t& count);
  // Encrypts the beginning of plain and drains it; false if the session is broken.
  bool write(Buffer& plain);
  // Tells the peer that nothing follows (close_notify).
  void sayGoodbye();
  bool peerSaidGoodbye() const;
  // Why the handshake failed, for a person: the reason for which the peer's certificate is not
  // taken, or OpenSSL's error. After handshake() or the first read() has failed.
  const std::string& failure() const { return failure_; }
  // What was agreed on. Without agreement HTTP/1.1, the protocol of a peer that knows no ALPN.
  std::string_view alpn() const;

 private:
  friend struct TlsWire;
  bool agreed() const;
  void noteFailure();

  ssl_st* ssl_ = nullptr;
  const TlsContext& context_;
  std::span<const std::uint8_t> input_;
  Buffer& wire_;
  std::string failure_;
};

}  // namespace penstock::net
