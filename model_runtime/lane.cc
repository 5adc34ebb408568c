#include "model_runtime/lane.h"

#include <string>
#include <utility>

#include "base/check.h"
#include "model_runtime/thread_name.h"

namespace penstock::runtime {

Lane::Lane(std::size_t index, Run run)
    : index_(index), run_(std::move(run)), thread_([this] { work(); }) {}

Lane::~Lane() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  given_or_stopping_.notify_one();
  thread_.join();
}

void Lane::give(PredictGate::Grant grant) {
  {
    std::lock_guard lock(mutex_);
    PENSTOCK_CHECK(!given_.has_value(), "a lane has one permit");
    given_.emplace(std::move(grant));
  }
  given_or_stopping_.notify_one();
}

void Lane::work() {
  nameThisThread("lane " + std::to_string(index_));
  while (true) {
    std::unique_lock lock(mutex_);
    given_or_stopping_.wait(lock, [this] { return given_.has_value() || stopping_; });
    if (!given_.has_value()) {
      return;
    }
    std::optional<PredictGate::Grant> grant = std::exchange(given_, std::nullopt);
    lock.unlock();
    while (grant.has_value()) {
      grant = run_(std::move(*grant));
    }
  }
}

}  // namespace penstock::runtime
