#include "model_runtime/cuda/lane_set.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace penstock::runtime::cuda {

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
    auto lane = Lane::make(*set->seats_[index]->device, index);
    if (!lane) {
      return std::unexpected(std::move(lane.error()));
    }
    set->lanes_.push_back(std::move(*lane));
    ++lanes_on[index];
  }
  for (std::size_t index = 0; index < set->seats_.size(); ++index) {
    Seat& seat = *set->seats_[index];
    // One more for the request whose result is being copied to the host.
    const std::size_t count = lanes_on[index] * (1 + options.run_ahead) + 1;
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

}  // namespace penstock::runtime::cuda
