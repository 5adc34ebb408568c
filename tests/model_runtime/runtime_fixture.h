#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <semaphore>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "model_runtime/runtime.h"
#include "tests/model_runtime/scripted_model.h"

namespace penstock::runtime {

// What happened, in order, from many threads; a test waits until something has.
class Journal {
 public:
  void note(std::string event) {
    std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
    changed_.notify_all();
  }
  // Until at least count events are noted; what they are.
  std::vector<std::string> waitFor(std::size_t count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(
        changed_.wait_for(lock, std::chrono::seconds(30), [&] { return events_.size() >= count; }))
        << "only " << events_.size() << " of " << count << " events";
    return events_;
  }
  std::vector<std::string> events() {
    std::lock_guard lock(mutex_);
    return events_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> events_;
};

// A stage stands here until it is let through, one permission for each.
class Turnstile {
 public:
  void pass() { semaphore_.acquire(); }
  void letThrough(int count = 1) { semaphore_.release(count); }

 private:
  std::counting_semaphore<> semaphore_{0};
};

class RuntimeTest : public testing::Test {
 protected:
  struct Ended {
    std::string text;
    Outcome outcome;
  };

  void start(Runtime::Options options = {}) {
    runtime_ = std::make_unique<Runtime>(model_, clock_, logger_, metrics_, options);
  }

  RequestHandle submit(const std::string& text, Deadline deadline = Deadline::never()) {
    auto handle = runtime_->submit(
        {.input = {.body = text, .content_type = ""}, .request_id = text, .deadline = deadline},
        [this, text](Outcome outcome) { end(text, std::move(outcome)); });
    EXPECT_TRUE(handle.has_value()) << "refused";
    return handle.value_or(RequestHandle());
  }

  Deadline in(Duration timeout) const { return Deadline::after(clock_.now(), timeout); }

  // Waits until count requests have ended; those, in order.
  std::vector<Ended> ended(std::size_t count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(
        changed_.wait_for(lock, std::chrono::seconds(30), [&] { return ended_.size() >= count; }))
        << "only " << ended_.size() << " of " << count << " requests ended";
    return ended_;
  }
  std::size_t endedCount() {
    std::lock_guard lock(mutex_);
    return ended_.size();
  }
  void waitUntilGateHolds(std::size_t waiting) {
    while (runtime_->gate().waiting != waiting) {
      std::this_thread::yield();
    }
  }

  SteadyClock clock_;
  Logger logger_{{.level = LogLevel::kError, .program = "test"}};
  Metrics metrics_;
  ScriptedModel model_;
  Journal journal_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Ended> ended_;
  // Last: it ends first, while what it calls back into is there.
  std::unique_ptr<Runtime> runtime_;

 private:
  void end(const std::string& text, Outcome outcome) {
    std::lock_guard lock(mutex_);
    ended_.push_back({text, std::move(outcome)});
    changed_.notify_all();
  }
};

}  // namespace penstock::runtime
