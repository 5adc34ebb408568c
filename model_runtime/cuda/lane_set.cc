#include "model_runtime/cuda/lane_set.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "model_runtime/cuda/try.h"

namespace penstock::runtime::cuda {
namespace {

DeviceResult<void> copyAndWait(Lane& lane, std::byte* to, const Buffer& from, std::size_t bytes) {
  Device& device = lane.device();
  const auto ended = device.makeEvent({.awaited = true});
  PENSTOCK_TRY(ended);
  DeviceResult<void> done = device.copy(to, from.data(), bytes, lane.stream());
  if (done.has_value()) {
    done = device.record(*ended, lane.stream());
  }
  if (done.has_value()) {
    done = device.await(*ended);
  }
  device.endEvent(*ended);
  return done;
}

}  // namespace

DeviceResult<std::unique_ptr<LaneSet>> LaneSet::make(std::vector<std::unique_ptr<Device>> devices,
                                                     const Options& options) {
  PENSTOCK_CHECK(!devices.empty() && options.lanes >= 1, "lanes are on devices");
  std::unique_ptr<LaneSet> set(new LaneSet);
  for (std::size_t i = 0; i < std::min(devices.size(), options.lanes); ++i) {
    set->seats_.push_back(
        std::make_unique<Seat>(std::move(devices[i]), options.device_limit_bytes));
  }
  std::vector<std::size_t> lanes_on(set->seats_.size());
  for (std::size_t number = 0; number < options.lanes; ++number) {
    const std::size_t index = number % set->seats_.size();
    auto lane = Lane::make(*set->seats_[index]->device, index, options.priority);
    if (!lane) {
      return std::unexpected(std::move(lane.error()));
    }
    set->lanes_.push_back(std::move(*lane));
    ++lanes_on[index];
  }
  for (std::size_t index = 0; index < set->seats_.size(); ++index) {
    Seat& seat = *set->seats_[index];
    // One that is staged or launched behind each that runs, if any is, and one whose result is
    // being copied to the host.
    const bool one_behind = options.run_ahead > 0 || set->seats_.size() == 1;
    const std::size_t count = lanes_on[index] * (one_behind ? 2 : 1) + 1;
    std::vector<std::unique_ptr<Workspace>> workspaces;
    while (workspaces.size() < count) {
      auto workspace = Workspace::make(*seat.device, seat.account);
      if (!workspace) {
        return std::unexpected(std::move(workspace.error()));
      }
      workspaces.push_back(std::move(*workspace));
    }
    seat.workspaces = std::make_unique<WorkspacePool>(std::move(workspaces));
  }
  return set;
}

WorkspacePool::Lease LaneSet::takeWorkspace(std::size_t lane_number) {
  return seats_[lanes_[lane_number]->deviceIndex()]->workspaces->take();
}

WorkspacePool::Lease LaneSet::takeStagingWorkspace() {
  return seats_.size() == 1 ? seats_[0]->workspaces->take() : WorkspacePool::Lease();
}

DeviceResult<std::vector<const std::byte*>> LaneSet::keep(std::span<const std::byte> bytes) {
  std::vector<const std::byte*> copies;
  // Each device's first lane is that of the same number.
  for (std::size_t index = 0; index < seats_.size(); ++index) {
    Seat& seat = *seats_[index];
    Buffer staged(*seat.device, seat.account, Device::Memory::kPinned);
    auto kept = std::make_unique<Buffer>(*seat.device, seat.account, Device::Memory::kDevice);
    PENSTOCK_TRY(staged.reserve(bytes.size()));
    PENSTOCK_TRY(kept->reserve(bytes.size()));
    std::memcpy(staged.data(), bytes.data(), bytes.size());
    PENSTOCK_TRY(copyAndWait(*lanes_[index], kept->data(), staged, bytes.size()));
    copies.push_back(kept->data());
    seat.kept.push_back(std::move(kept));
  }
  return copies;
}

}  // namespace penstock::runtime::cuda
