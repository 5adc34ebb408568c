#pragma once

#include "base/load_report/load_report.h"

namespace penstock {

// Has every field.
inline LoadReport fullReport() {
  LoadReport report;
  report.cpu_utilization = 1.0 / 3;
  report.mem_utilization = 0.25;
  report.application_utilization = 1.75;
  report.rps = 12.5;
  report.eps = 1e-7;
  report.utilization = {{"disk", 0.5}, {"net", 1}};
  report.request_cost = {{"tokens", 300}};
  report.in_flight = 3;
  report.limit = 4;
  report.predict_in_flight = 1;
  report.predict_concurrency = 2;
  report.gate_waiting = 0;
  report.gate_busy = 0.75;
  report.gate_idle_no_request = 0.125;
  report.gate_idle_preprocess = 0;
  report.gate_idle_hand_over = 0.0625;
  report.gpu_utilization = 0.5;
  report.gpu_memory = 1;
  report.draining = true;
  return report;
}

}  // namespace penstock
