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

// Whether a client sends more than its requests need, on one HTTP/2 connection. Frames are paid for
// with what work brings: a request, bytes moved, and a write that sends all there is (a client may
// answer each piece of a stream of small ones with WINDOW_UPDATE or PING; one that opens its window
// by single bytes never lets us send all there is).
class Http2FloodGuard {
 public:
  using Flood = ServerConnection::Flood;

  Http2FloodGuard(const Limits& limits, TimePoint now);

  // So many have begun, DATA with something in it left out.
  void onFrames(std::size_t count, TimePoint now);
  void onClientReset(TimePoint now);
  void onForcedReset(TimePoint now);  // we reset a stream because the client broke the protocol
  void onRequest() { frames_.giveBack(kPerRequest); }
  void onDataReceived(std::size_t bytes);
  // all: nothing is left to send on that stream.
  void onDataSent(std::size_t bytes, bool all);

  // The first excess, if there was one.
  std::optional<Flood> flood() const { return flood_; }

 private:
  static constexpr double kPerRequest = 20;
  static constexpr double kBytesPerFrame = 1024;
  static constexpr double kPerWholeWrite = 3;

  void note(Flood flood);

  TokenBucket frames_;
  TokenBucket client_resets_;
  TokenBucket forced_resets_;
  std::optional<Flood> flood_;
};

}  // namespace penstock::http
