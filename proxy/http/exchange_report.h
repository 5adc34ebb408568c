#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/clock.h"
#include "proxy/local_reply.h"

namespace penstock::proxy {

// What is known of an exchange, complete when it has ended: for the log and the metrics.
struct ExchangeReport {
  std::chrono::system_clock::time_point start_time;
  TimePoint started{};
  Duration total{};
  Duration waited{};           // for a slot
  Duration replica_time{-1};   // from the slot to the response's head; negative: none came
  std::uint32_t attempts = 0;  // to run it on a replica, those that it refused included
  int status = 0;              // 0: no response was begun
  Reason reason = Reason::kNone;
  // How the last attempt failed that may have run the request; kNone: no replica can have run it.
  Reason failed_attempt = Reason::kNone;
  std::uint64_t bytes_received = 0;  // body
  std::uint64_t bytes_sent = 0;      // body, as far as it has left for the client
  std::string replica;               // address of the last one
};

}  // namespace penstock::proxy
