#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "model_runtime/predict_gate.h"

namespace penstock::runtime {

// The thread of one lane of the gate. It sleeps while the lane is free, and is woken with a grant;
// from then on it keeps the lane as long as running one grant yields the next.
class Lane {
 public:
  // run: predicts, hands the permit over, and returns what it got for it.
  using Run = std::function<std::optional<PredictGate::Grant>(PredictGate::Grant)>;

  Lane(std::size_t index, Run run);
  // The lane is free.
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  // Thread-safe. The grant's permit names this lane, so there is never a second one to keep.
  void give(PredictGate::Grant grant);

 private:
  void work();

  const std::size_t index_;
  const Run run_;
  std::mutex mutex_;  // guards the next two
  std::optional<PredictGate::Grant> given_;
  bool stopping_ = false;
  std::condition_variable given_or_stopping_;
  std::thread thread_;
};

}  // namespace penstock::runtime
