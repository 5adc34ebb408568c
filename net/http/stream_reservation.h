#pragma once

#include <cstddef>
#include <memory>
#include <utility>

namespace penstock::http {

// A place among a connection's streams for work that outlives its stream: a request that the client
// has reset still runs on its replica, and opening and resetting streams quickly gains nothing.
// Destroying it gives the place back. Movable, may outlive the connection. Loop thread only.
class StreamReservation {
 public:
  // None.
  StreamReservation() = default;
  ~StreamReservation() { release(); }
  StreamReservation(StreamReservation&& other) noexcept = default;
  StreamReservation& operator=(StreamReservation&& other) noexcept {
    release();
    count_ = std::exchange(other.count_, nullptr);
    return *this;
  }

 private:
  friend class ReservedStreams;
  explicit StreamReservation(std::shared_ptr<std::size_t> count) : count_(std::move(count)) {
    ++*count_;
  }
  void release() {
    if (count_ != nullptr) {
      --*std::exchange(count_, nullptr);
    }
  }

  std::shared_ptr<std::size_t> count_;
};

// The reservations of one connection.
class ReservedStreams {
 public:
  std::size_t count() const { return *count_; }
  StreamReservation reserve() { return StreamReservation(count_); }

 private:
  std::shared_ptr<std::size_t> count_ = std::make_shared<std::size_t>(0);
};

}  // namespace penstock::http
