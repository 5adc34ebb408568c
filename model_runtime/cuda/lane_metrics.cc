#include "model_runtime/cuda/lane_metrics.h"

#include <string>
#include <utility>

#include "model_runtime/cuda/try.h"

namespace penstock::runtime::cuda {
namespace {

using Kind = ModelMetric::Kind;

ModelResult<void> showLane(const Lane& lane, std::size_t number, const LoadContext& context) {
  return context.add_metric(
      {.name = "penstock_model_gpu_kernel_seconds_total",
       .help = "Time of the lane's kernels, by the GPU's clock",
       .labels = {{"gpu", std::to_string(lane.deviceIndex())}, {"lane", std::to_string(number)}},
       .kind = Kind::kCounter,
       .read = [&lane] { return inSeconds(lane.busy()); }});
}

ModelResult<void> showAccount(const MemoryAccount& account, std::size_t index,
                              const LoadContext& context) {
  const std::string gpu = std::to_string(index);
  for (const auto& [kind, word] : {std::pair(Device::Memory::kDevice, "device"),
                                   std::pair(Device::Memory::kPinned, "pinned")}) {
    PENSTOCK_TRY(context.add_metric(
        {.name = "penstock_model_gpu_reserved_bytes",
         .help = "What buffers hold, on the GPU and in pinned memory of the host beside it",
         .labels = {{"gpu", gpu}, {"memory", word}},
         .kind = Kind::kGauge,
         .read = [&account, kind = kind] { return static_cast<double>(account.bytes(kind)); }}));
  }
  PENSTOCK_TRY(context.add_metric(
      {.name = "penstock_model_gpu_allocations_total",
       .help = "Allocations that were made; a steady load makes none",
       .labels = {{"gpu", gpu}},
       .kind = Kind::kCounter,
       .read = [&account] { return static_cast<double>(account.allocations()); }}));
  return context.add_metric(
      {.name = "penstock_model_gpu_refusals_total",
       .help = "Allocations that were refused, by the limit or by the GPU",
       .labels = {{"gpu", gpu}},
       .kind = Kind::kCounter,
       .read = [&account] { return static_cast<double>(account.refusals()); }});
}

}  // namespace

ModelResult<void> showLanes(const LaneSet& lanes, const LoadContext& context) {
  for (std::size_t number = 0; number < lanes.lanes(); ++number) {
    PENSTOCK_TRY(showLane(lanes.lane(number), number, context));
  }
  for (std::size_t index = 0; index < lanes.devices(); ++index) {
    PENSTOCK_TRY(showAccount(lanes.account(index), index, context));
  }
  return {};
}

}  // namespace penstock::runtime::cuda
