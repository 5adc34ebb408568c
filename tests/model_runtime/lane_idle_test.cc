#include "model_runtime/lane_idle.h"

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/manual_clock.h"

namespace penstock::runtime {
namespace {

using Place = LaneIdle::Place;
using Reason = LaneIdle::Reason;
using std::chrono::milliseconds;

class LaneIdleTest : public testing::Test {
 protected:
  void move(Place from, Place to) { idle_.move(from, to, clock_.now()); }
  void expect(int no_request, int preprocess, int hand_over) const {
    EXPECT_EQ(idle_.total(Reason::kNoRequest, clock_.now()), milliseconds(no_request));
    EXPECT_EQ(idle_.total(Reason::kPreprocess, clock_.now()), milliseconds(preprocess));
    EXPECT_EQ(idle_.total(Reason::kHandOver, clock_.now()), milliseconds(hand_over));
  }

  ManualClock clock_;
  LaneIdle idle_{2, clock_.now()};
};

TEST_F(LaneIdleTest, PutsTheTimeDownToWhatTheLaneWaitsFor) {
  clock_.advance(milliseconds(10));
  expect(20, 0, 0);
  move(Place::kNowhere, Place::kPreprocess);
  clock_.advance(milliseconds(3));
  expect(23, 3, 0);
  move(Place::kPreprocess, Place::kReady);
  clock_.advance(milliseconds(1));
  expect(24, 3, 1);
  move(Place::kReady, Place::kPredict);
  clock_.advance(milliseconds(5));
  expect(29, 3, 1);
  move(Place::kPredict, Place::kNowhere);
  clock_.advance(milliseconds(1));
  expect(31, 3, 1);
}

TEST_F(LaneIdleTest, WhoWaitsWhileAllLanesAreBusyMakesNobodyIdle) {
  for (int i = 0; i < 5; ++i) {
    move(Place::kNowhere, Place::kReady);
  }
  move(Place::kNowhere, Place::kPreprocess);
  move(Place::kReady, Place::kPredict);
  move(Place::kReady, Place::kPredict);
  clock_.advance(milliseconds(7));
  expect(0, 0, 0);
  move(Place::kPredict, Place::kNowhere);
  clock_.advance(milliseconds(2));
  expect(0, 0, 2);
}

TEST_F(LaneIdleTest, ATimeBeforeTheLastOneCountsAsThat) {
  const TimePoint before = clock_.now();
  clock_.advance(milliseconds(10));
  move(Place::kNowhere, Place::kPredict);
  idle_.move(Place::kNowhere, Place::kPredict, before);
  clock_.advance(milliseconds(10));
  expect(20, 0, 0);
}

TEST_F(LaneIdleTest, AllLaneTimeIsBusyOrHasAReason) {
  std::mt19937 random(3);
  std::vector<Place> requests;
  Duration busy{};
  const TimePoint start = clock_.now();
  for (int i = 0; i < 20'000; ++i) {
    const auto in_predict = std::ranges::count(requests, Place::kPredict);
    const Duration by = milliseconds(random() % 3);
    busy += by * in_predict;
    clock_.advance(by);
    if (requests.size() < 6 && random() % 2 == 0) {
      requests.push_back(Place::kPreprocess);
      move(Place::kNowhere, Place::kPreprocess);
    } else if (!requests.empty()) {
      Place& one = requests[random() % requests.size()];
      if (one == Place::kPreprocess) {
        move(one, Place::kReady);
        one = Place::kReady;
      } else if (one == Place::kReady && in_predict < 2) {
        move(one, Place::kPredict);
        one = Place::kPredict;
      } else if (one == Place::kPredict) {
        move(one, Place::kNowhere);
        std::swap(one, requests.back());
        requests.pop_back();
      }
    }
    Duration idle{};
    for (const Reason reason : {Reason::kNoRequest, Reason::kPreprocess, Reason::kHandOver}) {
      idle += idle_.total(reason, clock_.now());
    }
    ASSERT_EQ(idle + busy, 2 * (clock_.now() - start));
  }
}

}  // namespace
}  // namespace penstock::runtime
