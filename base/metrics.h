#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace penstock {

using MetricLabels = std::map<std::string, std::string>;

// Handles on one time series each; cheap to copy, valid as long as the Metrics they come from.
// Thread-safe, lock-free on the hot path.
class Counter {
 public:
  void add(double amount = 1);

 private:
  friend class Metrics;
  void* series_ = nullptr;
};

class Gauge {
 public:
  void set(double value);
  void add(double amount);

 private:
  friend class Metrics;
  void* series_ = nullptr;
};

class Histogram {
 public:
  // value: in the base unit of the name (seconds, bytes).
  void observe(double value);

 private:
  friend class Metrics;
  void* series_ = nullptr;
};

// The metrics of one process, in Prometheus' text format. Names follow Prometheus' conventions
// (penstock_…_total, …_seconds, …_bytes). Asking twice for the same name and labels gives the same
// series. Thread-safe.
class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  Counter counter(const std::string& name, const std::string& help, const MetricLabels& labels);
  Gauge gauge(const std::string& name, const std::string& help, const MetricLabels& labels);
  // upper_bounds: ascending; +Inf is implied.
  Histogram histogram(const std::string& name, const std::string& help, const MetricLabels& labels,
                      const std::vector<double>& upper_bounds);
  // 100 µs … 1200 s in steps of about 2.5: waiting and service times.
  static std::vector<double> latencyBounds();

  // A value that is read when the page is rendered (from atomics or under its own lock). counter:
  // whether it only grows.
  void callback(const std::string& name, const std::string& help, const MetricLabels& labels,
                bool counter, std::function<double()> read);

  // The page that /metrics answers; content type "text/plain; version=0.0.4".
  std::string render() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace penstock
