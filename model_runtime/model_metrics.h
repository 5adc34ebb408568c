#pragma once

#include <cstddef>
#include <mutex>
#include <vector>

#include "base/metrics.h"
#include "model_runtime/model.h"

namespace penstock::runtime {

// The metrics that a model adds while it loads: checked as they come, shown once it has loaded, so
// that a model that does not come to that has none. Thread-safe.
class ModelMetrics {
 public:
  static constexpr std::size_t kMost = 1000;

  // What LoadContext::add_metric does; refuses all once they are shown.
  ModelResult<void> add(ModelMetric metric);
  // From now on the page reads them; the model outlives its rendering.
  void show(Metrics& metrics);

 private:
  std::mutex mutex_;  // guards the rest
  std::vector<ModelMetric> metrics_;
  bool shown_ = false;
};

}  // namespace penstock::runtime
