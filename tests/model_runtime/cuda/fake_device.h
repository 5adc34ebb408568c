#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "model_runtime/cuda/device.h"

namespace penstock::runtime::cuda {

// A device made of host memory, which runs what is enqueued in the order of its streams, at once,
// but for kernels while they are held. Its clock moves by kKernelTime with each kernel. A copy of
// memory that is not allocated fails the test, and so do a stream that ends with work enqueued and
// an event that is not used as it was made for.
// Thread-safe.
class FakeDevice final : public Device {
 public:
  static constexpr Duration kKernelTime = std::chrono::milliseconds(1);

  explicit FakeDevice(std::string name = "fake", std::size_t memory_bytes = std::size_t{1} << 30)
      : name_(std::move(name)), total_(memory_bytes) {}

  // In place of a launch.
  void kernel(Stream stream, std::function<void()> work);

  // Kernels stay where they are, each at the head of its stream, until they are let through.
  void hold();
  void letThrough(std::size_t kernels);
  void letAllThrough();
  // Copies stay where they are, or none does any more.
  void holdCopies(bool held);
  // Waits until so many kernels stand at the heads of their streams.
  void waitUntilHeld(std::size_t kernels);
  // From now on every call fails in that way; or only the next one that can.
  void fail(DeviceFault fault);
  void failNext(DeviceFault fault);

  std::size_t kernelsRun() const;
  std::size_t allocations() const;
  std::size_t liveBytes(Memory kind) const;
  std::size_t liveHandles() const;  // streams and events
  Priority priority(Stream stream) const;
  std::size_t threadsAsleep() const;

  std::string name() const override { return name_; }
  DeviceResult<MemoryState> memory(Where where) override;
  DeviceResult<void*> allocate(Memory kind, std::size_t bytes, Where where) override;
  void release(Memory kind, void* memory) override;
  DeviceResult<Stream> makeStream(Priority priority, Where where) override;
  void endStream(Stream stream) override;
  DeviceResult<Event> makeEvent(EventUse use, Where where) override;
  void endEvent(Event event) override;
  DeviceResult<void> copy(void* to, const void* from, std::size_t bytes, Stream stream,
                          Where where) override;
  DeviceResult<void> record(Event event, Stream stream, Where where) override;
  DeviceResult<void> order(Stream stream, Event event, Where where) override;
  DeviceResult<void> await(Event event, Where where) override;
  DeviceResult<Duration> between(Event first, Event second, Where where) override;
  DeviceResult<void> use(Where where) override;
  DeviceResult<void> launched(Where where) override;

 private:
  struct Operation {
    enum class Kind : std::uint8_t { kCopy, kKernel, kReach, kWait } kind;
    std::function<void()> work;
    std::size_t event = 0;
    std::uint64_t generation = 0;  // of the event's recordings
  };
  struct EventState {
    EventUse use;
    std::uint64_t recorded = 0;
    std::uint64_t reached = 0;
    Duration at{};
  };
  struct Block {
    Memory kind;
    std::size_t bytes;
  };

  // With the lock held.
  DeviceResult<void> failure(Where where);
  DeviceResult<void> enqueue(Stream stream, Operation operation, Where where);
  void pump();
  bool runHead(std::deque<Operation>& stream);
  bool isLive(const void* memory, std::size_t bytes) const;
  std::size_t heldAtHeads() const;

  const std::string name_;
  const std::size_t total_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::size_t, std::deque<Operation>> streams_;
  std::map<std::size_t, Priority> priorities_;
  std::map<std::size_t, EventState> events_;
  std::map<std::uintptr_t, Block> blocks_;
  std::size_t last_handle_ = 0;
  std::optional<DeviceFault> fault_;
  std::optional<DeviceFault> next_fault_;
  std::optional<std::size_t> may_pass_;  // kernels, while they are held
  bool copies_held_ = false;
  std::size_t kernels_run_ = 0;
  std::size_t allocations_ = 0;
  std::size_t asleep_ = 0;
  Duration clock_{};
};

}  // namespace penstock::runtime::cuda
