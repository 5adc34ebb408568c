#include "model_runtime/lane_idle.h"

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model_runtime/predict_gate.h"
#include "model_runtime/runtime_metrics.h"
#include "tests/support/manual_clock.h"

namespace penstock::runtime {
namespace {

using Place = LaneIdle::Place;
using Reason = LaneIdle::Reason;
using std::chrono::milliseconds;

class LaneIdleTest : public testing::Test {
 protected:
  using Position = LaneIdle::Position;

  void move(Position& request, Place to) { idle_.move(request, to, clock_.now()); }
  void expect(int no_request, int preprocess, int hand_over) const {
    const LaneIdle::Totals totals = idle_.totals(clock_.now());
    const auto of = [&](Reason reason) { return totals[static_cast<std::size_t>(reason)]; };
    EXPECT_EQ(of(Reason::kNoRequest), milliseconds(no_request));
    EXPECT_EQ(of(Reason::kPreprocess), milliseconds(preprocess));
    EXPECT_EQ(of(Reason::kHandOver), milliseconds(hand_over));
  }

  ManualClock clock_;
  LaneIdle idle_{2, clock_.now()};
};

TEST_F(LaneIdleTest, PutsTheTimeDownToWhatTheLaneWaitsFor) {
  Position request;
  clock_.advance(milliseconds(10));
  expect(20, 0, 0);
  move(request, Place::kPreprocess);
  clock_.advance(milliseconds(3));
  expect(23, 3, 0);
  move(request, Place::kReady);
  clock_.advance(milliseconds(1));
  expect(24, 3, 1);
  move(request, Place::kPredict);
  clock_.advance(milliseconds(5));
  expect(29, 3, 1);
  move(request, Place::kNowhere);
  clock_.advance(milliseconds(1));
  expect(31, 3, 1);
}

TEST_F(LaneIdleTest, WhoWaitsWhileAllLanesAreBusyMakesNobodyIdle) {
  std::vector<Position> requests(6);
  for (int i = 0; i < 5; ++i) {
    move(requests[static_cast<std::size_t>(i)], Place::kReady);
  }
  move(requests[5], Place::kPreprocess);
  move(requests[0], Place::kPredict);
  move(requests[1], Place::kPredict);
  clock_.advance(milliseconds(7));
  expect(0, 0, 0);
  move(requests[0], Place::kNowhere);
  clock_.advance(milliseconds(2));
  expect(0, 0, 2);
}

// As from another process, whose predicts are heard of together when they are over.
TEST_F(LaneIdleTest, WhatIsHeardOfLateCountsFromWhenItWas) {
  const TimePoint start = clock_.now();
  const auto after = [start](int ms) { return start + milliseconds(ms); };
  Position first;
  Position second;
  Position third;
  move(first, Place::kReady);
  move(second, Place::kReady);
  clock_.advance(milliseconds(20));
  move(third, Place::kPreprocess);
  expect(0, 0, 40);
  idle_.move(first, Place::kPredict, after(1));
  idle_.move(first, Place::kNowhere, after(6));
  idle_.move(second, Place::kPredict, after(7));
  idle_.move(second, Place::kNowhere, after(17));
  // Two lanes: to 1 both wait for the two; to 6 the other for the second; to 7 one for the second,
  // one for nobody; to 17 one for nobody; to 20 both.
  expect(1 + 10 + 6, 0, 2 + 5 + 1);
}

TEST_F(LaneIdleTest, ARequestsMovesStayInTheirOrder) {
  const TimePoint start = clock_.now();
  Position request;
  clock_.advance(milliseconds(10));
  move(request, Place::kReady);
  idle_.move(request, Place::kPredict, start);
  idle_.move(request, Place::kNowhere, start);
  clock_.advance(milliseconds(10));
  expect(40, 0, 0);
}

TEST_F(LaneIdleTest, WhatIsHeardOfTooLateCountsFromWhatIsKnown) {
  const TimePoint start = clock_.now();
  Position first;
  Position second;
  Position late;
  move(late, Place::kReady);
  clock_.advance(milliseconds(1));
  move(first, Place::kPreprocess);
  clock_.advance(LaneIdle::kLatest + milliseconds(1));
  move(second, Place::kPreprocess);
  idle_.move(late, Place::kPredict, start);
  clock_.advance(milliseconds(10));
  // What was before the first is settled.
  expect(1, 1001 + 10, 1);
}

TEST_F(LaneIdleTest, AllLaneTimeIsBusyOrHasAReason) {
  std::mt19937 random(3);
  std::vector<Position> requests;
  Duration busy{};
  const TimePoint start = clock_.now();
  for (int i = 0; i < 20'000; ++i) {
    const auto in_predict = std::ranges::count(requests, Place::kPredict, &Position::place);
    const Duration by = milliseconds(random() % 3);
    busy += by * in_predict;
    clock_.advance(by);
    if (requests.size() < 6 && random() % 2 == 0) {
      move(requests.emplace_back(), Place::kPreprocess);
    } else if (!requests.empty()) {
      Position& one = requests[random() % requests.size()];
      if (one.place == Place::kPreprocess) {
        move(one, Place::kReady);
      } else if (one.place == Place::kReady && in_predict < 2) {
        move(one, Place::kPredict);
      } else if (one.place == Place::kPredict) {
        move(one, Place::kNowhere);
        std::swap(one, requests.back());
        requests.pop_back();
      }
    }
    if (i % 16 == 0) {
      Duration idle{};
      for (const Duration total : idle_.totals(clock_.now())) {
        idle += total;
      }
      ASSERT_EQ(idle + busy, 2 * (clock_.now() - start));
    }
  }
}

TEST_F(LaneIdleTest, WhatIsHeardOfLateMakesNoCounterFall) {
  struct NoGrants final : PredictGate::Handler {
    void onGrant(PredictGate::Grant) override {}
    void onExpired(PredictGate::Waiter&) override {}
  } nobody;
  struct Request final : PredictGate::Waiter {
  } request;
  PredictGate gate(clock_, nobody, {.lanes = 2});
  Metrics metrics;
  RuntimeMetrics shown(metrics, clock_, gate, idle_);
  const TimePoint start = clock_.now();
  Position position;
  move(position, Place::kReady);
  auto permit = std::get<PredictGate::Permit>(gate.enter(request, Deadline::never()));
  permit.begin();
  clock_.advance(milliseconds(500));
  const auto page = [&metrics] { return metrics.render(); };
  const auto busy = testing::HasSubstr("penstock_gate_busy_seconds_total 0.5\n");
  const auto hand_over =
      testing::HasSubstr("penstock_gate_idle_seconds_total{reason=\"hand_over\"} 0.5\n");
  EXPECT_THAT(page(), testing::AllOf(busy, hand_over));
  idle_.move(position, Place::kPredict, start + milliseconds(100));
  gate.handOver(std::move(permit), start + milliseconds(300));
  EXPECT_THAT(page(), testing::AllOf(busy, hand_over));
}

// Whatever order they are heard of in, the sums are those of their times.
TEST_F(LaneIdleTest, LateOrNotTheSumsAreTheSame) {
  std::mt19937 random(8);
  struct Heard {
    std::size_t request;
    Place to;
    TimePoint at;
    TimePoint heard;
  };
  std::vector<Heard> moves;
  TimePoint at = clock_.now();
  for (std::size_t request = 0; request < 300; ++request) {
    TimePoint heard = at;
    for (const Place to : {Place::kPreprocess, Place::kReady, Place::kPredict, Place::kNowhere}) {
      at += milliseconds(random() % 20);
      heard = std::max(heard, at + milliseconds(random() % 400));
      moves.push_back({request, to, at, heard});
    }
    at -= milliseconds(random() % 30);
  }
  const auto sums = [&moves, end = at + std::chrono::seconds(1), this] {
    LaneIdle idle(2, clock_.now());
    std::vector<Position> requests(300);
    for (const Heard& move : moves) {
      idle.move(requests[move.request], move.to, move.at);
    }
    return idle.totals(end);
  };
  std::ranges::stable_sort(moves, {}, &Heard::at);
  const LaneIdle::Totals in_time = sums();
  std::ranges::stable_sort(moves, {}, &Heard::heard);
  EXPECT_EQ(sums(), in_time);
}

}  // namespace
}  // namespace penstock::runtime
