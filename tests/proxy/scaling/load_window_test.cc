#include "proxy/scaling/load_window.h"

#include <gtest/gtest.h>

#include "tests/proxy/scaling/scripted_load.h"

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;

TEST(LoadWindow, IsWithoutLoadBeforeTheFirstSample) {
  const LoadWindow window;
  EXPECT_EQ(window.demand(60s), 0);
  EXPECT_EQ(window.arrivalRate(60s), 0);
  EXPECT_FALSE(window.serviceSeconds().has_value());
}

TEST(LoadWindow, CountsWaitingAndInFlightOnceEach) {
  ScriptedLoad load;
  LoadWindow window;
  window.add(load.sample(), 60s);
  load.set(3, 4);
  load.pass(60s);
  window.add(load.sample(), 60s);
  EXPECT_DOUBLE_EQ(window.demand(60s), 7);
  EXPECT_DOUBLE_EQ(window.inFlight(60s), 3);
}

TEST(LoadWindow, SeesRequestsThatNoSampleFindsInFlight) {
  ScriptedLoad load;
  LoadWindow window;
  window.add(load.sample(), 60s);
  for (int second = 0; second < 60; ++second) {
    load.serve(9, 100ms);
    load.pass(100ms);
    ASSERT_EQ(load.sample().in_flight, 0u);
    window.add(load.sample(), 60s);
  }
  EXPECT_NEAR(window.demand(60s), 0.9, 1e-9);
  EXPECT_DOUBLE_EQ(window.arrivalRate(60s), 9);
}

TEST(LoadWindow, InterpolatesBetweenSamplesAtItsEdge) {
  ScriptedLoad load;
  LoadWindow window;
  window.add(load.sample(), 60s);
  load.set(10);
  load.arrive(100);
  load.pass(10s);
  window.add(load.sample(), 60s);
  load.set(0);
  load.pass(5s);
  window.add(load.sample(), 60s);
  // Of the last 10 s the first half is the second half of a busy stretch of 10 s.
  EXPECT_DOUBLE_EQ(window.demand(10s), 5);
  EXPECT_DOUBLE_EQ(window.arrivalRate(10s), 5);
}

TEST(LoadWindow, CountsWhatWasBeforeTheFirstSampleAsNoLoad) {
  ScriptedLoad load;
  load.set(10);
  load.pass(1h);
  LoadWindow window;
  window.add(load.sample(), 60s);
  load.pass(6s);
  window.add(load.sample(), 60s);
  EXPECT_DOUBLE_EQ(window.demand(60s), 1);
}

TEST(LoadWindow, KeepsWhatTheWindowNeedsHoweverRarelyItIsSampled) {
  ScriptedLoad load;
  LoadWindow window;
  load.set(6);
  for (int i = 0; i < 5; ++i) {
    window.add(load.sample(), 60s);
    load.pass(45s);
  }
  window.add(load.sample(), 60s);
  EXPECT_DOUBLE_EQ(window.demand(60s), 6);
}

TEST(LoadWindow, AnswersTheSameWhetherSampledOftenOrRarely) {
  ScriptedLoad load;
  LoadWindow often;
  LoadWindow rarely;
  often.add(load.sample(), 60s);
  rarely.add(load.sample(), 60s);
  for (std::uint64_t i = 0; i < 600; ++i) {
    load.set(i % 7, i % 3);
    load.pass(100ms);
    often.add(load.sample(), 60s);
  }
  rarely.add(load.sample(), 60s);
  EXPECT_DOUBLE_EQ(often.demand(60s), rarely.demand(60s));
}

TEST(LoadWindow, MeasuresHowLongARequestIsInFlight) {
  ScriptedLoad load;
  LoadWindow window;
  window.add(load.sample(), 60s);
  load.serve(19, 2s);
  load.set(1);
  window.add(load.sample(), 600s);
  EXPECT_FALSE(window.serviceSeconds().has_value()) << "too few, and one is still running";
  load.set(0);
  load.serve(1, 2s);
  window.add(load.sample(), 600s);
  ASSERT_TRUE(window.serviceSeconds().has_value());
  EXPECT_NEAR(*window.serviceSeconds(), 2, 1e-9);
}

TEST(LoadWindow, MeasuresAFewRequestsOnceNothingRunsAnyMore) {
  ScriptedLoad load;
  LoadWindow window;
  window.add(load.sample(), 60s);
  load.serve(3, 500ms);
  window.add(load.sample(), 60s);
  ASSERT_TRUE(window.serviceSeconds().has_value());
  EXPECT_NEAR(*window.serviceSeconds(), 0.5, 1e-9);
}

}  // namespace
}  // namespace penstock::proxy
