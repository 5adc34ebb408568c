#include "base/metrics.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <mutex>
#include <sstream>
#include <utility>

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include "base/check.h"

namespace penstock {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

struct HistogramSeries {
  explicit HistogramSeries(std::vector<double> upper_bounds)
      : bounds(std::move(upper_bounds)), buckets(bounds.size() + 1) {}

  const std::vector<double> bounds;
  std::vector<std::atomic<std::uint64_t>> buckets;  // the last one is +Inf
  std::atomic<double> sum{0};
};

// One time series: a number, a histogram, or a function that is asked.
struct Series {
  std::atomic<double> value{0};
  std::unique_ptr<HistogramSeries> histogram;
  std::function<double()> read;
};

struct Family {
  std::string help;
  MetricType type = MetricType::Untyped;
  // Nodes of a map stay where they are, so handles can point to them.
  std::map<MetricLabels, Series> series;
};

bool isMetricName(const std::string& name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == ':';
  };
  return !name.empty() && !(name[0] >= '0' && name[0] <= '9') &&
         std::all_of(name.begin(), name.end(), allowed);
}

// The buckets are read first and summed: what is observed meanwhile is either in both or in
// neither.
ClientMetric::Histogram snapshot(const HistogramSeries& histogram) {
  ClientMetric::Histogram result;
  std::uint64_t cumulative = 0;
  for (std::size_t i = 0; i < histogram.buckets.size(); ++i) {
    cumulative += histogram.buckets[i].load(std::memory_order_relaxed);
    const double bound =
        i < histogram.bounds.size() ? histogram.bounds[i] : std::numeric_limits<double>::infinity();
    result.bucket.push_back({cumulative, bound});
  }
  result.sample_count = cumulative;
  result.sample_sum = histogram.sum.load(std::memory_order_relaxed);
  return result;
}

ClientMetric sample(MetricType type, const MetricLabels& labels, const Series& series) {
  ClientMetric metric;
  for (const auto& [name, value] : labels) {
    metric.label.push_back({name, value});
  }
  if (type == MetricType::Histogram) {
    metric.histogram = snapshot(*series.histogram);
    return metric;
  }
  const double value = series.read ? series.read() : series.value.load(std::memory_order_relaxed);
  if (type == MetricType::Counter) {
    metric.counter.value = value;
  } else {
    metric.gauge.value = value;
  }
  return metric;
}

}  // namespace

// Series live as long as the registry. Only making and rendering them takes the lock.
struct Metrics::State final : prometheus::Collectable {
  Series& find(const std::string& name, const std::string& help, MetricType type,
               const MetricLabels& labels) {
    PENSTOCK_CHECK(isMetricName(name), "a metric's name is made of a-z, 0-9, _ and :");
    Family& family = families[name];
    if (family.type == MetricType::Untyped) {
      family.type = type;
      family.help = help;
    }
    PENSTOCK_CHECK(family.type == type, "one metric name has one type");
    return family.series[labels];
  }

  std::vector<MetricFamily> Collect() const override {
    const std::lock_guard lock(mutex);
    std::vector<MetricFamily> result;
    for (const auto& [name, family] : families) {
      MetricFamily page{name, family.help, family.type, {}};
      for (const auto& [labels, series] : family.series) {
        page.metric.push_back(sample(family.type, labels, series));
      }
      result.push_back(std::move(page));
    }
    return result;
  }

  mutable std::mutex mutex;
  std::map<std::string, Family> families;
};

Metrics::Metrics() : state_(std::make_unique<State>()) {}
Metrics::~Metrics() = default;

void Counter::add(double amount) {
  if (series_ != nullptr) {
    static_cast<Series*>(series_)->value.fetch_add(amount, std::memory_order_relaxed);
  }
}

void Gauge::set(double value) {
  if (series_ != nullptr) {
    static_cast<Series*>(series_)->value.store(value, std::memory_order_relaxed);
  }
}

void Gauge::add(double amount) {
  if (series_ != nullptr) {
    static_cast<Series*>(series_)->value.fetch_add(amount, std::memory_order_relaxed);
  }
}

void Histogram::observe(double value) {
  if (series_ == nullptr) {
    return;
  }
  HistogramSeries& histogram = *static_cast<Series*>(series_)->histogram;
  const auto bucket = std::lower_bound(histogram.bounds.begin(), histogram.bounds.end(), value) -
                      histogram.bounds.begin();
  histogram.buckets[static_cast<std::size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
  histogram.sum.fetch_add(value, std::memory_order_relaxed);
}

Counter Metrics::counter(const std::string& name, const std::string& help,
                         const MetricLabels& labels) {
  const std::lock_guard lock(state_->mutex);
  Counter handle;
  handle.series_ = &state_->find(name, help, MetricType::Counter, labels);
  return handle;
}

Gauge Metrics::gauge(const std::string& name, const std::string& help, const MetricLabels& labels) {
  const std::lock_guard lock(state_->mutex);
  Gauge handle;
  handle.series_ = &state_->find(name, help, MetricType::Gauge, labels);
  return handle;
}

Histogram Metrics::histogram(const std::string& name, const std::string& help,
                             const MetricLabels& labels, const std::vector<double>& upper_bounds) {
  PENSTOCK_CHECK(std::is_sorted(upper_bounds.begin(), upper_bounds.end()),
                 "a histogram's bounds ascend");
  const std::lock_guard lock(state_->mutex);
  Series& series = state_->find(name, help, MetricType::Histogram, labels);
  if (series.histogram == nullptr) {
    series.histogram = std::make_unique<HistogramSeries>(upper_bounds);
  }
  Histogram handle;
  handle.series_ = &series;
  return handle;
}

std::vector<double> Metrics::latencyBounds() {
  return {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
          0.5,    1,       2.5,    5,     10,     25,    50,   100,   250,  500, 1200};
}

void Metrics::callback(const std::string& name, const std::string& help, const MetricLabels& labels,
                       bool counter, std::function<double()> read) {
  const std::lock_guard lock(state_->mutex);
  state_->find(name, help, counter ? MetricType::Counter : MetricType::Gauge, labels).read =
      std::move(read);
}

std::string Metrics::render() const {
  std::ostringstream page;
  prometheus::TextSerializer().Serialize(page, state_->Collect());
  return page.str();
}

}  // namespace penstock
