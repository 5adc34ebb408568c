// Metrics for a build without prometheus-cpp, which has no page that would show them: handles
// without a series, which count nothing.

#include "base/metrics.h"

namespace penstock {

struct Metrics::State {};

Metrics::Metrics() = default;
Metrics::~Metrics() = default;

void Counter::add(double /*amount*/) {}
void Gauge::set(double /*value*/) {}
void Gauge::add(double /*amount*/) {}
void Histogram::observe(double /*value*/) {}

Counter Metrics::counter(const std::string&, const std::string&, const MetricLabels&) {
  return {};
}
Gauge Metrics::gauge(const std::string&, const std::string&, const MetricLabels&) {
  return {};
}
Histogram Metrics::histogram(const std::string&, const std::string&, const MetricLabels&,
                             const std::vector<double>&) {
  return {};
}
std::vector<double> Metrics::latencyBounds() {
  return {1};
}
void Metrics::callback(const std::string&, const std::string&, const MetricLabels&, bool,
                       std::function<double()>) {}
std::string Metrics::render() const {
  return {};
}

}  // namespace penstock
