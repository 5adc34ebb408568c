#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "model_runtime/cuda/nvml.h"

namespace penstock::sidecar {

// How the GPUs are, once a second, on a thread of its own, since asking may take long. Where there
// is no NVML, none that works (which is logged), or no GPU there are no such metrics and no
// figures, and the thread ends. Thread-safe; the metrics are not rendered after it has ended.
class GpuMonitor {
 public:
  // All GPUs together, each 0 … 1; empty while nothing is known.
  struct Load {
    std::optional<double> utilization;  // the mean
    std::optional<double> memory;       // used of all
  };

  GpuMonitor(Metrics& metrics, Logger& log, std::string library = runtime::cuda::kNvmlLibrary);
  ~GpuMonitor();
  GpuMonitor(const GpuMonitor&) = delete;
  GpuMonitor& operator=(const GpuMonitor&) = delete;

  Load load() const;

 private:
  using Figures = runtime::cuda::Nvml::Figures;

  void work();
  void show(const std::vector<std::string>& names);
  double throttled(std::size_t gpu, runtime::cuda::Nvml::Throttle reason) const;
  bool sleepASecond();

  Metrics& metrics_;
  Logger& log_;
  const std::string library_;
  mutable std::mutex mutex_;  // guards the next two
  std::vector<Figures> figures_;
  bool stopping_ = false;
  std::condition_variable stopped_;
  std::thread thread_;
};

}  // namespace penstock::sidecar
