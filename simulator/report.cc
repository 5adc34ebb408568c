#include "simulator/report.h"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "base/quantity.h"

namespace penstock::simulator {
namespace {

std::string describeLoad(const Load& load) {
  double work = 0;
  std::uint32_t peak = 0;
  const std::vector<Step> steps = unlimitedInFlight(load);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const Duration until = i + 1 < steps.size() ? steps[i + 1].from : load.length;
    work += steps[i].value * std::max(0.0, inSeconds(until - steps[i].from));
    peak = std::max(peak, steps[i].value);
  }
  return fmt::format(
      "load: {:.0f} s; with a slot for everybody {:.2f} requests would be in flight on average, {} "
      "at most\n",
      inSeconds(load.length), work / inSeconds(load.length), peak);
}

std::string describeSettings(const Scenario& scenario) {
  const proxy::AutoscalingConfig& limits = scenario.settings.autoscaling;
  const std::string spread = scenario.start_up.longest == scenario.start_up.shortest
                                 ? ""
                                 : ".." + toString(scenario.start_up.longest);
  return fmt::format(
      "settings: replicas {}–{}, concurrency_target {}, target_utilization {} %, window {}, "
      "scale_down_delay {}, max_scale_down_rate {} %; start-up {}{}\n",
      limits.min_replicas, limits.max_replicas, scenario.settings.concurrency_target,
      limits.target_utilization, toString(limits.window), toString(limits.scale_down_delay),
      limits.max_scale_down_rate, toString(scenario.start_up.shortest), spread);
}

// What each replica-second is compared with: the oracle's, if it ran.
std::string ratio(const PolicyRun& run, const std::vector<PolicyRun>& runs) {
  const auto oracle = std::ranges::find(runs, "oracle", &PolicyRun::policy);
  if (oracle == runs.end() || oracle->figures.replica_seconds == 0) {
    return "-";
  }
  return fmt::format("{:.2f}", run.figures.replica_seconds / oracle->figures.replica_seconds);
}

}  // namespace

std::string reportOf(const Scenario& scenario, const std::vector<PolicyRun>& runs) {
  std::string text = describeLoad(scenario.load) + describeSettings(scenario);
  text +=
      fmt::format("\n{:<9} {:>9} {:>10} {:>7} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9} {:>9} {:>5}\n",
                  "policy", "requests", "replica-s", "÷oracle", "wait p50", "p95", "p99", "max",
                  "waiting %", "idle&wait", "reversals", "peak");
  for (const PolicyRun& run : runs) {
    const Figures& f = run.figures;
    text += fmt::format(
        "{:<9} {:>9} {:>10.0f} {:>7} {:>8.2f} {:>8.2f} {:>8.2f} {:>8.2f} {:>9.2f} {:>9.2f} {:>9} "
        "{:>5}\n",
        run.policy, f.requests, f.replica_seconds, ratio(run, runs), f.wait_p50, f.wait_p95,
        f.wait_p99, f.wait_max, 100 * f.somebody_waits_share, 100 * f.idle_while_waiting_share,
        f.reversals, f.peak_replicas);
  }
  text +=
      "\nreplica-s: those that start and drain included. wait: seconds. waiting %: of the time, "
      "with "
      "somebody waiting.\nidle&wait: % of the time, with a free slot and somebody waiting. "
      "reversals: turns by 2× or more within 10 minutes.\n";
  return text;
}

std::string timelineCsv(const std::vector<PolicyRun>& runs) {
  std::string text = "policy,seconds,demand,waiting,in_flight,ready,starting,draining,desired\n";
  for (const PolicyRun& run : runs) {
    for (const Moment& m : run.timeline) {
      fmt::format_to(std::back_inserter(text), "{},{:.3f},{:.3f},{},{},{},{},{},{}\n", run.policy,
                     inSeconds(m.at), m.demand, m.waiting, m.in_flight, m.ready, m.starting,
                     m.draining, m.desired);
    }
  }
  return text;
}

}  // namespace penstock::simulator
