#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "base/clock.h"

namespace penstock::net {

// The keys under which a server's session tickets are sealed: made at random, used for half a day,
// accepted for a day, then wiped. What was recorded of older conversations stays closed even if the
// process is broken into later. Thread-safe.
class TicketKeys {
 public:
  static constexpr Duration kUsedFor = std::chrono::hours(12);
  static constexpr Duration kAcceptedFor = std::chrono::hours(24);

  struct Key {
    std::array<unsigned char, 16> name;
    std::array<unsigned char, 32> cipher;
    std::array<unsigned char, 32> mac;
    TimePoint made_at;
  };

  explicit TicketKeys(const Clock& clock) : clock_(clock) {}
  ~TicketKeys();
  TicketKeys(const TicketKeys&) = delete;
  TicketKeys& operator=(const TicketKeys&) = delete;

  // The key for new tickets; nothing if the system has no randomness.
  std::optional<Key> current();
  // The key of that name, if it is still accepted. renew: whether new tickets use another.
  std::optional<Key> find(std::span<const unsigned char, 16> name, bool& renew);

 private:
  void dropExpired(TimePoint now);

  const Clock& clock_;
  std::mutex mutex_;
  // Guarded by mutex_; the newest last.
  std::vector<Key> keys_;
};

}  // namespace penstock::net
