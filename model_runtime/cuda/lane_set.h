#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "model_runtime/cuda/buffer.h"
#include "model_runtime/cuda/device.h"
#include "model_runtime/cuda/lane.h"
#include "model_runtime/cuda/memory_account.h"
#include "model_runtime/cuda/workspace_pool.h"

namespace penstock::runtime::cuda {

// All that a model has on its devices: the lanes, spread over the devices in turn (lane 0 on the
// first, lane 1 on the second, …), and for each device its workspaces and its memory account. Made
// in load(); outlives every state that has a lease.
class LaneSet {
 public:
  struct Options {
    std::size_t lanes = 1;               // the predict concurrency
    std::size_t run_ahead = 0;           // launched behind a running one, on each lane
    std::size_t device_limit_bytes = 0;  // for buffers, on each device; 0: what there is
    Device::Priority priority = Device::Priority::kHigh;  // of the lanes' streams
  };

  // devices: at least one; those that get no lane are let go of.
  static DeviceResult<std::unique_ptr<LaneSet>> make(std::vector<std::unique_ptr<Device>> devices,
                                                     const Options& options);

  Lane& lane(std::size_t number) { return *lanes_[number]; }
  const Lane& lane(std::size_t number) const { return *lanes_[number]; }
  // A workspace on that lane's device.
  WorkspacePool::Lease takeWorkspace(std::size_t lane_number);
  // For LaunchingModel::stage(): a workspace on whichever lane's device it will be; empty if there
  // are several devices, since which one is known only with the lane.
  WorkspacePool::Lease takeStagingWorkspace();
  // What every request reads, such as a model's weights: a copy on each device for as long as this
  // lives, within its limit. Returns where, by the index of the device. In load(); waits.
  DeviceResult<std::vector<const std::byte*>> keep(std::span<const std::byte> bytes);

  std::size_t lanes() const { return lanes_.size(); }
  std::size_t devices() const { return seats_.size(); }
  const Device& device(std::size_t index) const { return *seats_[index]->device; }
  const MemoryAccount& account(std::size_t index) const { return seats_[index]->account; }
  const WorkspacePool& workspaces(std::size_t index) const { return *seats_[index]->workspaces; }

 private:
  // One device with what is on it, in the order in which it must be made.
  struct Seat {
    Seat(std::unique_ptr<Device> the_device, std::size_t limit_bytes)
        : device(std::move(the_device)), account(limit_bytes) {}
    std::unique_ptr<Device> device;
    MemoryAccount account;
    std::vector<std::unique_ptr<Buffer>> kept;
    std::unique_ptr<WorkspacePool> workspaces;
  };
  LaneSet() = default;

  std::vector<std::unique_ptr<Seat>> seats_;
  std::vector<std::unique_ptr<Lane>> lanes_;
};

}  // namespace penstock::runtime::cuda
