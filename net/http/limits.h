#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "base/clock.h"

namespace penstock::http {

// How many of something a peer may do at once, and a second in the long run. burst 0: any number.
struct RateLimit {
  std::uint32_t burst;
  std::uint32_t per_second;
};

// What it means that an HTTP/1 client ends its direction after its request.
enum class HalfClose {
  kAnswer,     // it reads on
  kDeparture,  // it is gone
};

// Bounds that a codec enforces, server or client side; defaults are those of docs and
// configuration.
struct Limits {
  std::uint32_t max_streams = 100;  // per downstream connection, until their work has ended
  std::uint32_t stream_window = 256 * 1024;   // bytes
  std::uint32_t connection_window = 4 << 20;  // bytes
  std::size_t max_header_bytes = 64 * 1024;   // names + values + 32 each (RFC 9113 §6.5.2)
  std::size_t max_header_fields = 100;
  std::size_t max_path_bytes = 8 * 1024;
  std::size_t max_chunks = 65536;                           // HTTP/1 chunks in one body
  std::size_t max_chunk_extension_bytes = 256;              // per chunk line
  std::size_t max_outbound_frames = 5000;                   // queued in nghttp2
  RateLimit client_resets{.burst = 200, .per_second = 20};  // HTTP/2 requests that a client resets
  // HTTP/2 streams that we reset because the client broke the protocol.
  RateLimit forced_resets{.burst = 100, .per_second = 10};
  RateLimit frames{.burst = 2000, .per_second = 200};  // HTTP/2 frames beyond what requests need
  int max_informational = 10;
  Duration preface_timeout = std::chrono::seconds(5);  // HTTP/2 preface and SETTINGS
  Duration settings_ack_timeout = std::chrono::seconds(10);
  Duration header_timeout =
      std::chrono::seconds(10);  // absolute, from first byte to end of headers
  Duration body_idle_timeout = std::chrono::seconds(30);
  std::uint64_t min_body_rate = 1024;                 // bytes a second over 10 s, else 408
  Duration write_timeout = std::chrono::seconds(30);  // output of a stream without progress
  Duration idle_timeout = std::chrono::seconds(60);   // connection without a stream
  std::uint64_t max_requests_per_connection = 0;      // 0: unlimited
  HalfClose half_close = HalfClose::kAnswer;
};

}  // namespace penstock::http
