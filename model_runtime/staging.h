#pragma once

#include <atomic>
#include <cstdint>

namespace penstock::runtime {

// Whether a request that waits for a lane is being staged: then a thread has its state meanwhile,
// and whoever takes it out of the gate's queue must not touch it. A lane waits for that thread; who
// finds that the request is to end leaves its end to that thread. Of each kind of caller one.
class Staging {
 public:
  // In the gate's lock: it is announced, and will be staged.
  void begin() { state_.store(State::kRunning, std::memory_order_relaxed); }
  // The staging thread has done with it. False: it has been given up, and that thread ends it. The
  // request must outlive this call.
  bool end() {
    State running = State::kRunning;
    const bool wanted = state_.compare_exchange_strong(running, State::kIdle);
    state_.notify_one();
    return wanted;
  }

  // For a lane that was granted to it: sleeps until nobody stages it.
  void wait() const { state_.wait(State::kRunning); }
  // For who has taken it out of the queue to end it. False: it is being staged, and who stages it
  // ends it.
  bool giveUp() {
    State running = State::kRunning;
    return !state_.compare_exchange_strong(running, State::kGivenUp);
  }

 private:
  enum class State : std::uint8_t { kIdle, kRunning, kGivenUp };
  std::atomic<State> state_{State::kIdle};
};

}  // namespace penstock::runtime
