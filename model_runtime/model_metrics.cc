#include "model_runtime/model_metrics.h"

#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>

namespace penstock::runtime {
namespace {

constexpr std::string_view kPrefix = "penstock_model_";
constexpr std::string_view kTotal = "_total";

bool isWord(std::string_view text) {
  return std::ranges::all_of(
      text, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; });
}

bool isLabel(std::string_view name) {
  return !name.empty() && isWord(name) && !(name[0] >= '0' && name[0] <= '9') &&
         !name.starts_with("__");
}

// What is wrong with it, for the author of the model; empty if nothing is.
std::string wrong(const ModelMetric& metric) {
  const std::string_view name = metric.name;
  if (!name.starts_with(kPrefix) || name.size() == kPrefix.size() || !isWord(name)) {
    return "expected a name of a-z, 0-9 and _ that begins with penstock_model_";
  }
  if (name.ends_with(kTotal) != (metric.kind == ModelMetric::Kind::kCounter)) {
    return "expected the name of a counter, and of nothing else, to end in _total";
  }
  if (metric.help.empty() || metric.help.contains('\n')) {
    return "expected one line of help";
  }
  for (const auto& [label, value] : metric.labels) {
    if (!isLabel(label)) {
      return "label " + label + ": expected a name of a-z, 0-9 and _";
    }
  }
  return metric.read == nullptr ? "expected something to read" : "";
}

}  // namespace

ModelResult<void> ModelMetrics::add(ModelMetric metric) {
  const auto refused = [&metric](const std::string& why) {
    return modelFailure(ErrorKind::kInternal, "metric " + metric.name + ": " + why);
  };
  if (const std::string why = wrong(metric); !why.empty()) {
    return refused(why);
  }
  std::lock_guard lock(mutex_);
  if (shown_) {
    return refused("the model is loaded, and metrics are added before");
  }
  if (metrics_.size() >= kMost) {
    return refused("there are " + std::to_string(kMost) + " already");
  }
  for (const ModelMetric& other : metrics_) {
    if (other.name == metric.name && other.help != metric.help) {
      return refused("expected the same help as with other labels");
    }
    if (other.name == metric.name && other.labels == metric.labels) {
      return refused("there is one with that name and these labels already");
    }
  }
  metrics_.push_back(std::move(metric));
  return {};
}

void ModelMetrics::show(Metrics& metrics) {
  std::lock_guard lock(mutex_);
  shown_ = true;
  for (ModelMetric& metric : metrics_) {
    // An exception of the model's would end the thread that renders the page.
    metrics.callback(metric.name, metric.help, metric.labels,
                     metric.kind == ModelMetric::Kind::kCounter, [read = std::move(metric.read)] {
                       try {
                         return read();
                       } catch (...) {
                         return std::numeric_limits<double>::quiet_NaN();
                       }
                     });
  }
}

}  // namespace penstock::runtime
