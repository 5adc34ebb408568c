#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

#include "model_runtime/predict_gate.h"

namespace penstock::runtime {

// The two threads of a lane that runs ahead: one launches, the other waits for what was launched.
// So the next request is launched while the one before still runs, whenever it becomes ready. At
// most one is launched behind the one that runs. Both threads sleep while the lane is free.
class AheadLane {
 public:
  // What is done on the lane. Each request is bound or granted, launched once, then finished once,
  // all in the same order; its grant may come before its launch has returned.
  class Work {
   public:
    virtual ~Work() = default;
    // Binds the next request to the lane, behind the one with that permit, or null. On the
    // launching thread, like launch().
    virtual PredictGate::Waiter* bindNext(std::uint64_t permit_number) = 0;
    virtual void launch(PredictGate::Waiter& waiter) = 0;
    // Waits for its end, hands the permit over, and returns what it got for it. On the other
    // thread.
    virtual std::optional<PredictGate::Grant> finish(PredictGate::Grant grant) = 0;
  };

  // work outlives it.
  AheadLane(std::size_t index, Work& work);
  // The lane is free.
  ~AheadLane();
  AheadLane(const AheadLane&) = delete;
  AheadLane& operator=(const AheadLane&) = delete;

  // Thread-safe, both. The lane was free and is granted; somebody has begun to wait at the gate.
  void give(PredictGate::Grant grant);
  void look();

 private:
  struct Item {
    PredictGate::Waiter* waiter;
    std::optional<PredictGate::Permit> permit;  // none: bound
    bool launching = false;
    bool launched = false;
  };

  void launchAll();
  void finishAll();
  void accept(PredictGate::Grant grant);
  Item* find(const PredictGate::Waiter* waiter);
  Item* firstToLaunch();
  bool canFinish() const;

  const std::size_t index_;
  Work& work_;
  std::mutex mutex_;  // guards everything below but the threads
  std::condition_variable to_launch_;
  std::condition_variable to_finish_;
  std::deque<Item> items_;  // in order; what is being finished has left
  // The newest permit that has come here. The gate may have given out a newer one, which is on its
  // way; who is to go behind that one is bound only then.
  std::uint64_t permit_number_ = 0;
  bool look_ = false;  // somebody may wait to be bound
  bool stopping_ = false;
  std::thread launcher_;
  std::thread finisher_;
};

}  // namespace penstock::runtime
