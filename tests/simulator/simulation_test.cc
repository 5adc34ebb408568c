#include "simulator/simulation.h"

#include <gtest/gtest.h>

#include "simulator/policies.h"

namespace penstock::simulator {
namespace {

using namespace std::chrono_literals;

Scenario fixedScenario(Load load, std::uint32_t replicas, std::uint32_t target) {
  Scenario scenario;
  scenario.load = std::move(load);
  scenario.settings.concurrency_target = target;
  scenario.initial_replicas = replicas;
  return scenario;
}

// Says at each second what a script says.
class ScriptedPolicy final : public Policy {
 public:
  explicit ScriptedPolicy(std::vector<Step> script) : script_(std::move(script)) {}
  std::string_view name() const override { return "scripted"; }
  TimePoint nextAfter(TimePoint now) const override { return now + 1s; }
  std::uint32_t decide(const proxy::LoadSample& sample, const proxy::Fleet& fleet) override {
    start_ = start_.value_or(sample.at);
    std::uint32_t replicas = fleet.size();
    for (const Step& step : script_) {
      replicas = step.from <= sample.at - *start_ ? step.value : replicas;
    }
    return replicas;
  }

 private:
  const std::vector<Step> script_;
  std::optional<TimePoint> start_;
};

TEST(Simulation, ServesInOrderOfArrivalAndMeasuresEachWait) {
  FixedPolicy fixed(1);
  const Outcome outcome = simulate(
      fixedScenario({.arrivals = {{0s, 10s}, {1s, 10s}, {2s, 10s}}, .length = 30s}, 1, 1), fixed);
  EXPECT_EQ(outcome.waits_seconds, (std::vector<float>{0, 9, 18}));
  EXPECT_DOUBLE_EQ(outcome.somebody_waited_seconds, 19);
  EXPECT_DOUBLE_EQ(outcome.replica_seconds, 30);
  EXPECT_EQ(outcome.idle_while_waiting_seconds, 0);
  EXPECT_EQ(outcome.most_on_one_replica, 1u);
}

TEST(Simulation, CountsReplicasThatStartAndDrain) {
  // One more at 5 s, ready at 15 s; the first is busy until 40 s and told to go at 20 s.
  ScriptedPolicy policy({{5s, 2}, {20s, 1}, {30s, 0}});
  Scenario scenario = fixedScenario({.arrivals = {{0s, 40s}, {0s, 25s}}, .length = 50s}, 1, 1);
  const Outcome outcome = simulate(scenario, policy);
  // The first 0–40 s; the second 5–40 s, for it serves the second request from 15 s on.
  EXPECT_DOUBLE_EQ(outcome.replica_seconds, 40 + 35);
  EXPECT_EQ(outcome.peak_replicas, 2u);
  EXPECT_EQ(outcome.scale_downs, 2u);
  EXPECT_EQ(outcome.waits_seconds, (std::vector<float>{0, 15}));
}

TEST(Simulation, StopsThoseThatStartFirstWhenThereAreTooMany) {
  ScriptedPolicy policy({{2s, 5}, {6s, 1}});
  const Outcome outcome =
      simulate(fixedScenario({.arrivals = {{0s, 1s}}, .length = 20s}, 1, 1), policy);
  EXPECT_DOUBLE_EQ(outcome.replica_seconds, 20 + 4 * 4);
  EXPECT_EQ(outcome.scale_downs, 0u);
}

TEST(Simulation, KeepsAsManyRequestsAsThereAreUsers) {
  FixedPolicy fixed(4);
  const Outcome outcome = simulate(
      fixedScenario({.users = {{0s, 3}, {20500ms, 1}}, .service = {.mean = 1s}, .length = 30s}, 4,
                    1),
      fixed);
  EXPECT_EQ(outcome.arrived, 3u * 21 + 9);
  EXPECT_EQ(outcome.timeline.at(10).in_flight, 3u);
  EXPECT_EQ(outcome.timeline.at(25).in_flight, 1u);
}

TEST(Simulation, WakesAtOnce) {
  FixedPolicy fixed(2);
  const Outcome outcome =
      simulate(fixedScenario({.arrivals = {{500ms, 1s}}, .length = 20s}, 0, 1), fixed);
  // Decided at 0 s; ready 10 s later.
  EXPECT_EQ(outcome.waits_seconds, (std::vector<float>{9.5}));
}

TEST(Simulation, IsTheSameEachTime) {
  Scenario scenario = fixedScenario(
      {.users = {{0s, 30}}, .service = {.mean = 2s, .exponential = true}, .length = 300s}, 1, 2);
  scenario.settings.autoscaling.max_replicas = 50;
  scenario.start_up = {.shortest = 1s, .longest = 30s};
  PenstockPolicy first(scenario.settings);
  PenstockPolicy second(scenario.settings);
  EXPECT_EQ(simulate(scenario, first).waits_seconds, simulate(scenario, second).waits_seconds);
}

}  // namespace
}  // namespace penstock::simulator
