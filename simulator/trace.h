#pragma once

#include <string>

#include "base/result.h"
#include "simulator/load.h"

namespace penstock::simulator {

// How long a language model works on a request: base + per token it reads + per token it writes.
struct ServiceModel {
  double base_seconds = 0.02;
  double per_context_token_seconds = 0.00005;
  double per_generated_token_seconds = 0.03;
};

// Reads a trace in one of two forms, told apart by the first line:
//   TIMESTAMP,ContextTokens,GeneratedTokens   (2023-11-16 18:17:03.9799600,4808,10)
//   arrival_seconds,service_seconds           (0.25,1.5)
// Requests need not be in order; the first one comes at 0 in the first form. The load ends when the
// last request would have ended on a fleet without bounds. Errors: "file:line: what was expected".
Result<Load> readTrace(const std::string& file, const ServiceModel& model);

}  // namespace penstock::simulator
