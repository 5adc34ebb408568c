#include "base/metrics.h"

#include <atomic>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Metrics, RendersCountersAndGaugesWithTheirLabels) {
  Metrics metrics;
  metrics.counter("penstock_things_total", "Things.", {{"kind", "a"}}).add();
  metrics.counter("penstock_things_total", "Things.", {{"kind", "b"}}).add(2.5);
  metrics.gauge("penstock_level", "Level.", {}).set(-3);
  const std::string page = metrics.render();
  EXPECT_THAT(page, HasSubstr("# HELP penstock_things_total Things.\n"));
  EXPECT_THAT(page, HasSubstr("# TYPE penstock_things_total counter\n"));
  EXPECT_THAT(page, HasSubstr("penstock_things_total{kind=\"a\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("penstock_things_total{kind=\"b\"} 2.5\n"));
  EXPECT_THAT(page, HasSubstr("penstock_level -3\n"));
}

TEST(Metrics, GivesTheSameSeriesForTheSameNameAndLabels) {
  Metrics metrics;
  metrics.counter("penstock_things_total", "Things.", {{"kind", "a"}}).add(1);
  metrics.counter("penstock_things_total", "Things.", {{"kind", "a"}}).add(1);
  EXPECT_THAT(metrics.render(), HasSubstr("penstock_things_total{kind=\"a\"} 2\n"));
}

TEST(Metrics, HandlesStayValidWhenOthersAreMade) {
  Metrics metrics;
  Counter first = metrics.counter("penstock_first_total", "First.", {});
  for (int i = 0; i < 1000; ++i) {
    metrics.counter("penstock_other_total", "Other.", {{"n", std::to_string(i)}}).add();
  }
  first.add(7);
  EXPECT_THAT(metrics.render(), HasSubstr("penstock_first_total 7\n"));
}

TEST(Metrics, CountsAValueOnABoundIntoThatBucket) {
  Metrics metrics;
  Histogram histogram = metrics.histogram("penstock_wait_seconds", "Waits.", {}, {0.1, 1});
  histogram.observe(0.1);
  histogram.observe(0.5);
  histogram.observe(30);
  const std::string page = metrics.render();
  EXPECT_THAT(page, HasSubstr("penstock_wait_seconds_bucket{le=\"0.1\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("penstock_wait_seconds_bucket{le=\"1\"} 2\n"));
  EXPECT_THAT(page, HasSubstr("penstock_wait_seconds_bucket{le=\"+Inf\"} 3\n"));
  EXPECT_THAT(page, HasSubstr("penstock_wait_seconds_count 3\n"));
  EXPECT_THAT(page, HasSubstr("penstock_wait_seconds_sum 30.6"));
}

TEST(Metrics, AsksCallbacksWhenThePageIsRendered) {
  Metrics metrics;
  std::atomic<double> level{1};
  metrics.callback("penstock_level", "Level.", {{"cluster", "m"}}, false,
                   [&] { return level.load(); });
  metrics.callback("penstock_moved_total", "Moved.", {}, true, [] { return 4.0; });
  level = 2;
  const std::string page = metrics.render();
  EXPECT_THAT(page, HasSubstr("penstock_level{cluster=\"m\"} 2\n"));
  EXPECT_THAT(page, HasSubstr("# TYPE penstock_moved_total counter\n"));
}

TEST(Metrics, ReplacesACallbackThatIsRegisteredAgain) {
  Metrics metrics;
  metrics.callback("penstock_level", "Level.", {}, false, [] { return 1.0; });
  metrics.callback("penstock_level", "Level.", {}, false, [] { return 2.0; });
  EXPECT_THAT(metrics.render(), HasSubstr("penstock_level 2\n"));
  EXPECT_THAT(metrics.render(), Not(HasSubstr("penstock_level 1\n")));
}

TEST(Metrics, EscapesLabelValues) {
  Metrics metrics;
  metrics.gauge("penstock_level", "Level.", {{"path", "a\"b\\c\nd"}}).set(1);
  EXPECT_THAT(metrics.render(), HasSubstr(R"(penstock_level{path="a\"b\\c\nd"} 1)"));
}

TEST(Metrics, AHandleOfNothingDoesNothing) {
  Counter().add();
  Gauge().set(1);
  Histogram().observe(1);
}

TEST(Metrics, LatencyBoundsAscendFrom100MicrosecondsTo20Minutes) {
  const std::vector<double> bounds = Metrics::latencyBounds();
  EXPECT_EQ(bounds.front(), 0.0001);
  EXPECT_EQ(bounds.back(), 1200);
  EXPECT_TRUE(std::is_sorted(bounds.begin(), bounds.end()));
}

TEST(Metrics, LosesNothingWhenManyThreadsCount) {
  Metrics metrics;
  Counter counter = metrics.counter("penstock_things_total", "Things.", {});
  Histogram histogram = metrics.histogram("penstock_sizes_bytes", "Sizes.", {}, {10});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([=]() mutable {
      for (int i = 0; i < 10'000; ++i) {
        counter.add();
        histogram.observe(i % 20);
      }
    });
  }
  for (int i = 0; i < 20; ++i) {
    metrics.render();
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_THAT(metrics.render(), HasSubstr("penstock_things_total 40000\n"));
  EXPECT_THAT(metrics.render(), HasSubstr("penstock_sizes_bytes_count 40000\n"));
  EXPECT_THAT(metrics.render(), HasSubstr("penstock_sizes_bytes_bucket{le=\"10\"} 22000\n"));
}

TEST(MetricsDeathTest, OneNameHasOneType) {
  Metrics metrics;
  metrics.counter("penstock_things_total", "Things.", {});
  EXPECT_DEATH(metrics.gauge("penstock_things_total", "Things.", {}),
               "one metric name has one type");
}

TEST(MetricsDeathTest, NamesFollowPrometheus) {
  Metrics metrics;
  EXPECT_DEATH(metrics.counter("penstock-things", "Things.", {}), "a metric's name is made of");
}

}  // namespace
}  // namespace penstock
