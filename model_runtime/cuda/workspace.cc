#include "model_runtime/cuda/workspace.h"

#include <tuple>
#include <utility>

#include "model_runtime/cuda/try.h"

namespace penstock::runtime::cuda {

DeviceResult<std::unique_ptr<Workspace>> Workspace::make(Device& device, MemoryAccount& account) {
  Handles handles;
  auto copies = device.makeStream(Device::Priority::kNormal);
  if (!copies) {
    return std::unexpected(std::move(copies.error()));
  }
  handles.copies = *copies;
  constexpr std::array<Device::EventUse, 4> kUses = {{
      {},                                // uploaded_: the lane alone waits for it
      {.timed = true},                   // began_
      {.awaited = true, .timed = true},  // ended_
      {.awaited = true},                 // downloaded_
  }};
  for (std::size_t made = 0; made < handles.events.size(); ++made) {
    auto event = device.makeEvent(kUses[made]);
    if (!event) {
      while (made > 0) {
        device.endEvent(handles.events[--made]);
      }
      device.endStream(handles.copies);
      return std::unexpected(std::move(event.error()));
    }
    handles.events[made] = *event;
  }
  return std::unique_ptr<Workspace>(new Workspace(device, account, handles));
}

Workspace::Workspace(Device& device, MemoryAccount& account, const Handles& handles)
    : device_(device),
      copies_(handles.copies),
      uploaded_(handles.events[0]),
      began_(handles.events[1]),
      ended_(handles.events[2]),
      downloaded_(handles.events[3]),
      staged_(device, account, Device::Memory::kPinned),
      input_(device, account, Device::Memory::kDevice),
      output_(device, account, Device::Memory::kDevice),
      scratch_(device, account, Device::Memory::kDevice),
      result_(device, account, Device::Memory::kPinned) {}

Workspace::~Workspace() {
  settle();
  for (const Event event : {uploaded_, began_, ended_, downloaded_}) {
    device_.endEvent(event);
  }
  device_.endStream(copies_);
}

DeviceResult<void> Workspace::reserve(const Sizes& sizes, Device::Where where) {
  settle();
  sizes_ = sizes;
  const std::pair<Buffer*, std::size_t> wanted[] = {{&staged_, sizes.input},
                                                    {&input_, sizes.input},
                                                    {&output_, sizes.output},
                                                    {&result_, sizes.output},
                                                    {&scratch_, sizes.scratch}};
  for (const auto& [buffer, bytes] : wanted) {
    PENSTOCK_TRY(buffer->reserve(bytes, where));
  }
  return {};
}

DeviceResult<void> Workspace::upload(Device::Where where) {
  uploading_ = true;
  complete_ = false;
  PENSTOCK_TRY(device_.copy(input_.data(), staged_.data(), sizes_.input, copies_, where));
  return device_.record(uploaded_, copies_, where);
}

DeviceResult<void> Workspace::begin(Lane& lane, Device::Where where) {
  lane_ = &lane;
  complete_ = false;
  PENSTOCK_TRY(device_.use(where));
  if (uploading_) {
    PENSTOCK_TRY(device_.order(lane.stream(), uploaded_, where));
  }
  return device_.record(began_, lane.stream(), where);
}

DeviceResult<void> Workspace::end(Lane& lane, Device::Where where) {
  PENSTOCK_TRY(device_.launched(where));
  PENSTOCK_TRY(device_.record(ended_, lane.stream(), where));
  PENSTOCK_TRY(device_.order(copies_, ended_, where));
  PENSTOCK_TRY(device_.copy(result_.data(), output_.data(), sizes_.output, copies_, where));
  PENSTOCK_TRY(device_.record(downloaded_, copies_, where));
  complete_ = true;
  return {};
}

DeviceResult<Duration> Workspace::awaitKernels(Device::Where where) {
  PENSTOCK_TRY(device_.await(ended_, where));
  auto time = device_.between(began_, ended_, where);
  if (time.has_value()) {
    lane_->ran(*time);
  }
  return time;
}

DeviceResult<std::span<const std::byte>> Workspace::awaitOutput(Device::Where where) {
  PENSTOCK_TRY(device_.await(downloaded_, where));
  uploading_ = false;
  lane_ = nullptr;
  complete_ = false;
  return std::span<const std::byte>(result_.data(), sizes_.output);
}

// Of the lane only what is this request's: kernels of the next may stand behind it. What was
// enqueued last is not known after an error, and then the ends of both streams are awaited. A
// device that is lost answers at once, and then nothing uses anything.
void Workspace::settle() {
  const bool uploading = std::exchange(uploading_, false);
  Lane* lane = std::exchange(lane_, nullptr);
  const auto await_end = [this](Stream stream) {
    if (device_.record(downloaded_, stream)) {
      std::ignore = device_.await(downloaded_);
    }
  };
  if (complete_) {
    std::ignore = device_.await(downloaded_);
  } else if (lane != nullptr) {
    await_end(lane->stream());
    await_end(copies_);
  } else if (uploading) {
    await_end(copies_);
  }
  complete_ = false;
}

}  // namespace penstock::runtime::cuda
