#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <source_location>
#include <string>
#include <vector>

#include "base/clock.h"

// The seam between Penstock and CUDA: what a lane asks of a device, and no more. No header of
// CUDA's is needed to use it. Kernels are launched past it, by the model's own .cu files.
namespace penstock::runtime::cuda {

enum class DeviceFault : std::uint8_t {
  kAbsent,       // no device, no driver or one that is too old, or built without CUDA
  kOutOfMemory,  // nothing was begun; the device is as good as before
  kLost,    // sticky: an illegal access, a lost device. Nothing on it works in this process again
  kFailed,  // anything else
};

// message: the call and what the driver says of it. where: the place in our code that asked.
struct DeviceError {
  DeviceFault fault = DeviceFault::kFailed;
  std::string message;
  std::source_location where;

  // "file:line: message".
  std::string text() const;
};

template <typename T>
using DeviceResult = std::expected<T, DeviceError>;

// Handles, for passing on; who made one ends it. A Stream's is a cudaStream_t, an Event's a
// cudaEvent_t.
struct Stream {
  void* handle = nullptr;
};
struct Event {
  void* handle = nullptr;
};

// One GPU. Thread-safe, as CUDA is; each call makes the device the calling thread's current one.
// What is enqueued on one stream happens in that order.
class Device {
 public:
  using Where = std::source_location;
  enum class Memory : std::uint8_t {
    kDevice,
    kPinned,  // the host's, which copies run beside
  };
  // When both have work to be scheduled, that of a high stream goes first.
  enum class Priority : std::uint8_t { kNormal, kHigh };
  // What an event is for besides the order of streams. Both cost the device something each time it
  // is recorded: an interrupt, and a time stamp.
  struct EventUse {
    bool awaited = false;  // by await()
    bool timed = false;    // by between()
  };
  struct MemoryState {
    std::size_t free = 0;
    std::size_t total = 0;
  };

  virtual ~Device() = default;

  virtual std::string name() const = 0;
  virtual DeviceResult<MemoryState> memory(Where where = Where::current()) = 0;

  // bytes: at least 1. May wait for the device.
  virtual DeviceResult<void*> allocate(Memory kind, std::size_t bytes,
                                       Where where = Where::current()) = 0;
  // Nothing enqueued uses it any more.
  virtual void release(Memory kind, void* memory) = 0;

  // Streams that do not wait for the default stream.
  virtual DeviceResult<Stream> makeStream(Priority priority, Where where = Where::current()) = 0;
  virtual void endStream(Stream stream) = 0;
  virtual DeviceResult<Event> makeEvent(EventUse use, Where where = Where::current()) = 0;
  virtual void endEvent(Event event) = 0;

  // In order of the stream: to copy, between memory of either kind; to be reached, for the event;
  // to wait until an event, recorded before on any stream, is reached.
  virtual DeviceResult<void> copy(void* to, const void* from, std::size_t bytes, Stream stream,
                                  Where where = Where::current()) = 0;
  virtual DeviceResult<void> record(Event event, Stream stream, Where where = Where::current()) = 0;
  virtual DeviceResult<void> order(Stream stream, Event event, Where where = Where::current()) = 0;

  // Sleeps, without using a core, until the event is reached; at once if it was never recorded.
  virtual DeviceResult<void> await(Event event, Where where = Where::current()) = 0;
  // Of two reached events: how long after the first the second was, by the device's clock.
  virtual DeviceResult<Duration> between(Event first, Event second,
                                         Where where = Where::current()) = 0;

  // Before kernels are launched on this thread: makes the device its current one.
  virtual DeviceResult<void> use(Where where = Where::current()) = 0;
  // After: what the launches said.
  virtual DeviceResult<void> launched(Where where = Where::current()) = 0;
};

// The devices that CUDA_VISIBLE_DEVICES lets this process see (all, if it is not set), in that
// order: at least one. kAbsent if there is none; any other error if there may well be one, and CUDA
// does not begin to work.
DeviceResult<std::vector<std::unique_ptr<Device>>> openDevices();

}  // namespace penstock::runtime::cuda
