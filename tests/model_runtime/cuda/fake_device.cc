#include "tests/model_runtime/cuda/fake_device.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <gtest/gtest.h>

#include "model_runtime/cuda/try.h"

namespace penstock::runtime::cuda {
namespace {

void* asHandle(std::size_t number) {
  return reinterpret_cast<void*>(number);
}
std::size_t asNumber(void* handle) {
  return reinterpret_cast<std::uintptr_t>(handle);
}

}  // namespace

void FakeDevice::kernel(Stream stream, std::function<void()> work) {
  std::lock_guard lock(mutex_);
  (void)enqueue(stream, {.kind = Operation::Kind::kKernel, .work = std::move(work)}, {});
}

void FakeDevice::hold() {
  std::lock_guard lock(mutex_);
  may_pass_ = 0;
}

void FakeDevice::letThrough(std::size_t kernels) {
  std::lock_guard lock(mutex_);
  *may_pass_ += kernels;
  pump();
}

void FakeDevice::letAllThrough() {
  std::lock_guard lock(mutex_);
  may_pass_.reset();
  pump();
}

void FakeDevice::holdCopies(bool held) {
  std::lock_guard lock(mutex_);
  copies_held_ = held;
  pump();
}

void FakeDevice::waitUntilHeld(std::size_t kernels) {
  std::unique_lock lock(mutex_);
  EXPECT_TRUE(
      changed_.wait_for(lock, std::chrono::seconds(30), [&] { return heldAtHeads() == kernels; }))
      << heldAtHeads() << " kernels are held, not " << kernels;
}

void FakeDevice::fail(DeviceFault fault) {
  std::lock_guard lock(mutex_);
  fault_ = fault;
  changed_.notify_all();
}

void FakeDevice::failNext(DeviceFault fault) {
  std::lock_guard lock(mutex_);
  next_fault_ = fault;
}

std::size_t FakeDevice::kernelsRun() const {
  std::lock_guard lock(mutex_);
  return kernels_run_;
}

std::size_t FakeDevice::allocations() const {
  std::lock_guard lock(mutex_);
  return allocations_;
}

std::size_t FakeDevice::liveBytes(Memory kind) const {
  std::lock_guard lock(mutex_);
  std::size_t bytes = 0;
  for (const auto& [at, block] : blocks_) {
    bytes += block.kind == kind ? block.bytes : 0;
  }
  return bytes;
}

std::size_t FakeDevice::liveHandles() const {
  std::lock_guard lock(mutex_);
  return streams_.size() + events_.size();
}

Device::Priority FakeDevice::priority(Stream stream) const {
  std::lock_guard lock(mutex_);
  return priorities_.at(asNumber(stream.handle));
}

std::size_t FakeDevice::threadsAsleep() const {
  std::lock_guard lock(mutex_);
  return asleep_;
}

DeviceResult<Device::MemoryState> FakeDevice::memory(Where where) {
  const std::size_t used = liveBytes(Memory::kDevice);
  std::lock_guard lock(mutex_);
  PENSTOCK_TRY(failure(where));
  return MemoryState{total_ - used, total_};
}

DeviceResult<void*> FakeDevice::allocate(Memory kind, std::size_t bytes, Where where) {
  const std::size_t used = liveBytes(kind);
  std::lock_guard lock(mutex_);
  PENSTOCK_TRY(failure(where));
  if (kind == Memory::kDevice && bytes > total_ - used) {
    return std::unexpected(DeviceError{DeviceFault::kOutOfMemory, "no memory", where});
  }
  ++allocations_;
  void* memory = std::malloc(bytes);
  blocks_.emplace(reinterpret_cast<std::uintptr_t>(memory), Block{kind, bytes});
  return memory;
}

void FakeDevice::release(Memory kind, void* memory) {
  std::lock_guard lock(mutex_);
  const auto at = blocks_.find(reinterpret_cast<std::uintptr_t>(memory));
  ASSERT_NE(at, blocks_.end()) << "released, and not allocated";
  EXPECT_EQ(at->second.kind, kind);
  blocks_.erase(at);
  std::free(memory);
}

DeviceResult<Stream> FakeDevice::makeStream(Priority priority, Where where) {
  std::lock_guard lock(mutex_);
  PENSTOCK_TRY(failure(where));
  streams_[++last_handle_];
  priorities_[last_handle_] = priority;
  return Stream{asHandle(last_handle_)};
}

void FakeDevice::endStream(Stream stream) {
  std::lock_guard lock(mutex_);
  const auto ended = streams_.extract(asNumber(stream.handle));
  EXPECT_TRUE(ended.mapped().empty() || fault_.has_value()) << "ended with work enqueued";
}

DeviceResult<Event> FakeDevice::makeEvent(EventUse use, Where where) {
  std::lock_guard lock(mutex_);
  PENSTOCK_TRY(failure(where));
  events_[++last_handle_].use = use;
  return Event{asHandle(last_handle_)};
}

void FakeDevice::endEvent(Event event) {
  std::lock_guard lock(mutex_);
  EXPECT_EQ(events_.erase(asNumber(event.handle)), 1u);
}

DeviceResult<void> FakeDevice::copy(void* to, const void* from, std::size_t bytes, Stream stream,
                                    Where where) {
  std::lock_guard lock(mutex_);
  return enqueue(stream,
                 {.kind = Operation::Kind::kCopy,
                  .work =
                      [this, to, from, bytes] {
                        EXPECT_TRUE(isLive(to, bytes) && isLive(from, bytes))
                            << "a copy of memory that is not allocated";
                        std::memcpy(to, from, bytes);
                      }},
                 where);
}

DeviceResult<void> FakeDevice::record(Event event, Stream stream, Where where) {
  std::lock_guard lock(mutex_);
  const std::size_t number = asNumber(event.handle);
  return enqueue(stream,
                 {.kind = Operation::Kind::kReach,
                  .work = {},
                  .event = number,
                  .generation = ++events_.at(number).recorded},
                 where);
}

DeviceResult<void> FakeDevice::order(Stream stream, Event event, Where where) {
  std::lock_guard lock(mutex_);
  const std::size_t number = asNumber(event.handle);
  return enqueue(stream,
                 {.kind = Operation::Kind::kWait,
                  .work = {},
                  .event = number,
                  .generation = events_.at(number).recorded},
                 where);
}

DeviceResult<void> FakeDevice::await(Event event, Where where) {
  std::unique_lock lock(mutex_);
  const EventState& state = events_.at(asNumber(event.handle));
  EXPECT_TRUE(state.use.awaited) << "an event that nobody was to wait for";
  const std::uint64_t generation = state.recorded;
  ++asleep_;
  changed_.wait(lock, [&] { return state.reached >= generation || fault_.has_value(); });
  --asleep_;
  return failure(where);
}

DeviceResult<Duration> FakeDevice::between(Event first, Event second, Where where) {
  std::lock_guard lock(mutex_);
  PENSTOCK_TRY(failure(where));
  const EventState& from = events_.at(asNumber(first.handle));
  const EventState& to = events_.at(asNumber(second.handle));
  EXPECT_TRUE(from.use.timed && to.use.timed) << "an event that has no time";
  return to.at - from.at;
}

DeviceResult<void> FakeDevice::use(Where where) {
  std::lock_guard lock(mutex_);
  return failure(where);
}

DeviceResult<void> FakeDevice::launched(Where where) {
  std::lock_guard lock(mutex_);
  return failure(where);
}

DeviceResult<void> FakeDevice::failure(Where where) {
  const auto fault = fault_.has_value() ? fault_ : std::exchange(next_fault_, std::nullopt);
  if (!fault.has_value()) {
    return {};
  }
  return std::unexpected(DeviceError{*fault, "as the test said", where});
}

DeviceResult<void> FakeDevice::enqueue(Stream stream, Operation operation, Where where) {
  if (auto failed = failure(where); !failed) {
    return failed;
  }
  streams_.at(asNumber(stream.handle)).push_back(std::move(operation));
  pump();
  return {};
}

void FakeDevice::pump() {
  bool moved = true;
  while (moved) {
    moved = false;
    for (auto& [number, stream] : streams_) {
      while (!stream.empty() && runHead(stream)) {
        moved = true;
      }
    }
  }
  changed_.notify_all();
}

bool FakeDevice::runHead(std::deque<Operation>& stream) {
  Operation& head = stream.front();
  switch (head.kind) {
    case Operation::Kind::kKernel:
      if (may_pass_.has_value()) {
        if (*may_pass_ == 0) {
          return false;
        }
        --*may_pass_;
      }
      ++kernels_run_;
      clock_ += kKernelTime;
      head.work();
      break;
    case Operation::Kind::kCopy:
      if (copies_held_) {
        return false;
      }
      head.work();
      break;
    case Operation::Kind::kReach:
      // Of a recording that another has taken the place of, nobody hears.
      if (EventState& event = events_.at(head.event); event.reached < head.generation) {
        event.reached = head.generation;
        event.at = clock_;
      }
      break;
    case Operation::Kind::kWait:
      if (events_.at(head.event).reached < head.generation) {
        return false;
      }
      break;
  }
  stream.pop_front();
  return true;
}

bool FakeDevice::isLive(const void* memory, std::size_t bytes) const {
  const auto at = reinterpret_cast<std::uintptr_t>(memory);
  auto block = blocks_.upper_bound(at);
  if (bytes == 0 || block == blocks_.begin()) {
    return bytes == 0;
  }
  --block;
  return at + bytes <= block->first + block->second.bytes;
}

std::size_t FakeDevice::heldAtHeads() const {
  return static_cast<std::size_t>(std::ranges::count_if(streams_, [](const auto& entry) {
    return !entry.second.empty() && entry.second.front().kind == Operation::Kind::kKernel;
  }));
}

}  // namespace penstock::runtime::cuda
