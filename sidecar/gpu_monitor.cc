#include "sidecar/gpu_monitor.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <utility>

namespace penstock::sidecar {

using runtime::cuda::Nvml;

GpuMonitor::GpuMonitor(Metrics& metrics, Logger& log, std::string library)
    : metrics_(metrics), log_(log), library_(std::move(library)), thread_([this] { work(); }) {}

GpuMonitor::~GpuMonitor() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stopped_.notify_one();
  thread_.join();
}

GpuMonitor::Load GpuMonitor::load() const {
  std::lock_guard lock(mutex_);
  double utilization = 0;
  double used = 0;
  double memory = 0;
  std::size_t saying = 0;
  for (const Figures& gpu : figures_) {
    saying += gpu.utilization.has_value() ? 1 : 0;
    utilization += gpu.utilization.value_or(0);
    used += gpu.memory_used_bytes.value_or(0);
    memory += gpu.memory_bytes.value_or(0);
  }
  Load load;
  if (saying > 0) {
    load.utilization = utilization / static_cast<double>(saying);
  }
  if (memory > 0) {
    load.memory = std::min(used / memory, 1.0);
  }
  return load;
}

void GpuMonitor::work() {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  if (const auto part = runtime::cuda::visiblePart(visible == nullptr ? "" : visible);
      !part.empty()) {
    const std::string why = "CUDA_VISIBLE_DEVICES: " + std::string(part) +
                            " is a part of a GPU; there are figures of whole ones only";
    log_.info("no GPU figures", {{"why", std::string_view(why)}});
  }
  auto nvml = Nvml::open(library_, visible);
  if (!nvml) {
    log_.warning("no GPU figures", {{"why", std::string_view(nvml.error().message)}});
    return;
  }
  if (*nvml == nullptr) {
    return;
  }
  bool shown = false;
  do {
    std::vector<Figures> figures = (*nvml)->read();
    {
      std::lock_guard lock(mutex_);
      figures_ = std::move(figures);
    }
    if (!std::exchange(shown, true)) {
      show((*nvml)->names());
    }
  } while (sleepASecond());
}

bool GpuMonitor::sleepASecond() {
  std::unique_lock lock(mutex_);
  return !stopped_.wait_for(lock, std::chrono::seconds(1), [this] { return stopping_; });
}

// What the driver does not say is NaN there.
void GpuMonitor::show(const std::vector<std::string>& names) {
  struct Row {
    const char* name;
    const char* help;
    std::optional<double> Figures::* figure;
  };
  static constexpr Row kRows[] = {
      {"penstock_gpu_utilization", "Share of the driver's last sample with a kernel running",
       &Figures::utilization},
      {"penstock_gpu_memory_used_bytes", "Memory of the GPU in use, by all processes",
       &Figures::memory_used_bytes},
      {"penstock_gpu_memory_bytes", "Memory of the GPU", &Figures::memory_bytes},
      {"penstock_gpu_temperature_celsius", "Temperature of the GPU", &Figures::temperature_celsius},
  };
  for (std::size_t i = 0; i < names.size(); ++i) {
    const MetricLabels labels{{"gpu", std::to_string(i)}, {"name", names[i]}};
    for (const Row& row : kRows) {
      metrics_.callback(row.name, row.help, labels, false, [this, i, figure = row.figure] {
        std::lock_guard lock(mutex_);
        return (figures_[i].*figure).value_or(std::numeric_limits<double>::quiet_NaN());
      });
    }
    for (const auto& [reason, word] : {std::pair(Nvml::Throttle::kPower, "power"),
                                       std::pair(Nvml::Throttle::kThermal, "thermal"),
                                       std::pair(Nvml::Throttle::kHardware, "hardware")}) {
      MetricLabels with_reason = labels;
      with_reason.emplace("reason", word);
      metrics_.callback("penstock_gpu_throttled", "1: clocks are held down, for that reason",
                        with_reason, false,
                        [this, i, reason = reason] { return throttled(i, reason); });
    }
  }
}

double GpuMonitor::throttled(std::size_t gpu, Nvml::Throttle reason) const {
  std::lock_guard lock(mutex_);
  const auto& reasons = figures_[gpu].throttled;
  if (!reasons.has_value()) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  return std::ranges::find(*reasons, reason) == reasons->end() ? 0 : 1;
}

}  // namespace penstock::sidecar
