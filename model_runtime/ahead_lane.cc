#include "model_runtime/ahead_lane.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/check.h"
#include "model_runtime/thread_name.h"

namespace penstock::runtime {

AheadLane::AheadLane(std::size_t index, Work& work)
    : index_(index),
      work_(work),
      launcher_([this] { launchAll(); }),
      finisher_([this] { finishAll(); }) {}

AheadLane::~AheadLane() {
  {
    std::lock_guard lock(mutex_);
    PENSTOCK_CHECK(items_.empty(), "a lane ends when it is free");
    stopping_ = true;
  }
  to_launch_.notify_one();
  to_finish_.notify_one();
  launcher_.join();
  finisher_.join();
}

void AheadLane::give(PredictGate::Grant grant) {
  accept(std::move(grant));
}

void AheadLane::look() {
  {
    std::lock_guard lock(mutex_);
    // One that is bound is enough, and its grant looks again.
    if (std::ranges::any_of(items_, [](const Item& item) { return !item.permit.has_value(); })) {
      return;
    }
    look_ = true;
  }
  to_launch_.notify_one();
}

// With the permit comes the right to bind the one behind it.
void AheadLane::accept(PredictGate::Grant grant) {
  {
    std::lock_guard lock(mutex_);
    permit_number_ = grant.permit.number();
    if (Item* bound = find(grant.waiter)) {
      bound->permit.emplace(std::move(grant.permit));
    } else {
      items_.push_back({.waiter = grant.waiter, .permit = std::move(grant.permit)});
    }
    look_ = true;
  }
  to_launch_.notify_one();
  to_finish_.notify_one();
}

AheadLane::Item* AheadLane::find(const PredictGate::Waiter* waiter) {
  const auto at = std::ranges::find(items_, waiter, &Item::waiter);
  return at == items_.end() ? nullptr : &*at;
}

AheadLane::Item* AheadLane::firstToLaunch() {
  const auto at = std::ranges::find(items_, false, &Item::launching);
  return at == items_.end() ? nullptr : &*at;
}

bool AheadLane::canFinish() const {
  return !items_.empty() && items_.front().launched && items_.front().permit.has_value();
}

void AheadLane::launchAll() {
  nameThisThread("launch " + std::to_string(index_));
  std::unique_lock lock(mutex_);
  while (true) {
    to_launch_.wait(lock, [this] { return stopping_ || look_ || firstToLaunch() != nullptr; });
    if (Item* item = firstToLaunch()) {
      item->launching = true;
      PredictGate::Waiter& waiter = *item->waiter;
      lock.unlock();
      work_.launch(waiter);
      lock.lock();
      // Not finished before it is launched, so it is still there.
      find(&waiter)->launched = true;
      if (canFinish()) {
        to_finish_.notify_one();
      }
    } else if (std::exchange(look_, false)) {
      const std::uint64_t behind = permit_number_;
      lock.unlock();
      PredictGate::Waiter* next = work_.bindNext(behind);
      lock.lock();
      // Its grant may have been quicker.
      if (next != nullptr && find(next) == nullptr) {
        items_.push_back({.waiter = next, .permit = std::nullopt});
      }
    } else {
      return;
    }
  }
}

void AheadLane::finishAll() {
  nameThisThread("lane " + std::to_string(index_));
  std::unique_lock lock(mutex_);
  while (true) {
    to_finish_.wait(lock, [this] { return stopping_ || canFinish(); });
    if (!canFinish()) {
      return;
    }
    Item item = std::move(items_.front());
    items_.pop_front();
    lock.unlock();
    auto next = work_.finish({item.waiter, std::move(*item.permit)});
    if (next.has_value()) {
      accept(std::move(*next));
    }
    lock.lock();
  }
}

}  // namespace penstock::runtime
