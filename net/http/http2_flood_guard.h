#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "net/http/limits.h"
#include "net/http/server_connection.h"

namespace penstock::http {

// So many at once, and so many a second in the long run. A burst of 0 bounds nothing.
class TokenBucket {
 public:
  TokenBucket(const RateLimit& limit, TimePoint now)
      : limit_(limit), tokens_(limit.burst), since_(now) {}
  // False: there were too many.
  bool take(TimePoint now, std::size_t count = 1);
  void giveBack(double tokens);

 private:
  RateLimit limit_;
  double tokens_;
  TimePoint since_;
};

// Whether a peer sends more than its requests need, on one HTTP/2 connection. Frames are paid for
// with what work brings: a request, bytes moved, and a write that sends all there is (a client may
// answer each piece of a stream of small ones with WINDOW_UPDATE or PING; one that opens its window
// by single bytes never lets us send all there is). Header fields may become only so much larger by
// decoding: what costs time is their length, and not that of what stands for them on the wire.
class Http2FloodGuard {
 public:
  using Flood = ServerConnection::Flood;

  Http2FloodGuard(const Limits& limits, TimePoint now);

  // So many have begun, DATA with something in it left out.
  void onFrames(std::size_t count, TimePoint now);
  void onClientReset(TimePoint now);
  void onForcedReset(TimePoint now);  // we reset a stream because the client broke the protocol
  void onRequest() {
    frames_.giveBack(kPerRequest);
    header_bytes_.giveBack(kHeaderBytesPerRequest);
  }
  // Bytes of any kind have been read from the socket.
  void onBytesRead(std::size_t bytes) {
    header_bytes_.giveBack(static_cast<double>(bytes * kHeaderBytesPerByte));
  }
  // A field has been decoded. True: chargeHeaders() is due before the next.
  bool onHeader(std::size_t bytes) { return (decoded_ += bytes) >= kDecodedAtOnce; }
  // Charges for what has been decoded since the last call.
  void chargeHeaders(TimePoint now);
  void onDataReceived(std::size_t bytes);
  // all: nothing is left to send on that stream.
  void onDataSent(std::size_t bytes, bool all);

  // The first excess, if there was one.
  std::optional<Flood> flood() const { return flood_; }

 private:
  static constexpr double kPerRequest = 20;
  static constexpr double kBytesPerFrame = 1024;
  static constexpr double kPerWholeWrite = 3;

  // A reference into HPACK's table is one byte for up to 4 KiB. Who means well makes each entry
  // come out once in a block, and Huffman's code makes at most 1.6 bytes of one.
  static constexpr RateLimit kHeaderBytes{.burst = 512 * 1024, .per_second = 256 * 1024};
  static constexpr double kHeaderBytesPerRequest = 16 * 1024;
  static constexpr std::size_t kHeaderBytesPerByte = 2;
  static constexpr std::size_t kDecodedAtOnce = 16 * 1024;

  void note(Flood flood);

  TokenBucket frames_;
  TokenBucket client_resets_;
  TokenBucket forced_resets_;
  TokenBucket header_bytes_;
  std::size_t decoded_ = 0;
  std::optional<Flood> flood_;
};

}  // namespace penstock::http
