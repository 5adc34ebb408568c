#include "model_runtime/model_metrics.h"

#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::runtime {
namespace {

using Kind = ModelMetric::Kind;
using testing::HasSubstr;
using testing::Not;

ModelMetric gauge(std::string name, std::map<std::string, std::string> labels = {}) {
  return {.name = std::move(name),
          .help = "Words in the cache",
          .labels = std::move(labels),
          .kind = Kind::kGauge,
          .read = [] { return 3.5; }};
}

std::string refusal(ModelMetrics& metrics, ModelMetric metric) {
  const auto added = metrics.add(std::move(metric));
  EXPECT_FALSE(added.has_value());
  return added.has_value() ? "" : added.error().message;
}

TEST(ModelMetrics, AreOnThePageOnceTheModelHasLoaded) {
  ModelMetrics model;
  Metrics page;
  double words = 1;
  ASSERT_TRUE(model.add(gauge("penstock_model_words", {{"lane", "0"}})).has_value());
  ASSERT_TRUE(model.add(gauge("penstock_model_words", {{"lane", "1"}})).has_value());
  ASSERT_TRUE(model
                  .add({.name = "penstock_model_read_total",
                        .help = "Words read",
                        .labels = {},
                        .kind = Kind::kCounter,
                        .read = [&words] { return words; }})
                  .has_value());
  EXPECT_THAT(page.render(), Not(HasSubstr("penstock_model")));
  model.show(page);
  words = 7;
  const std::string text = page.render();
  EXPECT_THAT(text, HasSubstr("# HELP penstock_model_words Words in the cache\n"));
  EXPECT_THAT(text, HasSubstr("# TYPE penstock_model_words gauge\n"));
  EXPECT_THAT(text, HasSubstr("penstock_model_words{lane=\"0\"} 3.5\n"));
  EXPECT_THAT(text, HasSubstr("penstock_model_words{lane=\"1\"} 3.5\n"));
  EXPECT_THAT(text, HasSubstr("# TYPE penstock_model_read_total counter\n"));
  EXPECT_THAT(text, HasSubstr("penstock_model_read_total 7\n"));
}

TEST(ModelMetrics, HaveNamesThatAreNobodyElses) {
  ModelMetrics model;
  for (const char* name : {"", "words", "penstock_gate_waiting", "penstock_model_",
                           "penstock_model_Words", "penstock_model_a-b", "penstock_model_a b"}) {
    EXPECT_EQ(refusal(model, gauge(name)),
              std::string("metric ") + name +
                  ": expected a name of a-z, 0-9 and _ that begins with penstock_model_");
  }
}

TEST(ModelMetrics, AreCountersIfTheirNameSaysSo) {
  ModelMetrics model;
  ModelMetric counter = gauge("penstock_model_words");
  counter.kind = Kind::kCounter;
  EXPECT_THAT(refusal(model, counter), HasSubstr("to end in _total"));
  EXPECT_THAT(refusal(model, gauge("penstock_model_words_total")), HasSubstr("to end in _total"));
}

TEST(ModelMetrics, AreRefusedTwice) {
  ModelMetrics model;
  ASSERT_TRUE(model.add(gauge("penstock_model_words", {{"lane", "0"}})).has_value());
  EXPECT_EQ(refusal(model, gauge("penstock_model_words", {{"lane", "0"}})),
            "metric penstock_model_words: there is one with that name and these labels already");
  ModelMetric other = gauge("penstock_model_words", {{"lane", "1"}});
  other.help = "Something else";
  EXPECT_THAT(refusal(model, other), HasSubstr("the same help"));
}

TEST(ModelMetrics, AreWhole) {
  ModelMetrics model;
  ModelMetric metric = gauge("penstock_model_words");
  metric.read = nullptr;
  EXPECT_THAT(refusal(model, metric), HasSubstr("something to read"));
  metric = gauge("penstock_model_words");
  metric.help = "Words\npenstock_in_flight 5";
  EXPECT_THAT(refusal(model, metric), HasSubstr("one line of help"));
  metric.help = "";
  EXPECT_THAT(refusal(model, metric), HasSubstr("one line of help"));
  for (const char* label : {"", "0lane", "__name", "a-b"}) {
    EXPECT_THAT(refusal(model, gauge("penstock_model_words", {{label, "0"}})),
                HasSubstr("label " + std::string(label) + ": expected"));
  }
}

TEST(ModelMetrics, HaveABound) {
  ModelMetrics model;
  for (std::size_t i = 0; i < ModelMetrics::kMost; ++i) {
    ASSERT_TRUE(model.add(gauge("penstock_model_words", {{"n", std::to_string(i)}})).has_value());
  }
  EXPECT_THAT(refusal(model, gauge("penstock_model_more")), HasSubstr("1000 already"));
}

TEST(ModelMetrics, AreNotAddedToALoadedModel) {
  ModelMetrics model;
  Metrics page;
  model.show(page);
  EXPECT_THAT(refusal(model, gauge("penstock_model_words")), HasSubstr("the model is loaded"));
}

TEST(ModelMetrics, AnExceptionOfTheModelsIsNoNumber) {
  ModelMetrics model;
  Metrics page;
  ModelMetric metric = gauge("penstock_model_words");
  metric.read = []() -> double { throw std::runtime_error("on purpose"); };
  ASSERT_TRUE(model.add(metric).has_value());
  model.show(page);
  EXPECT_THAT(page.render(), HasSubstr("penstock_model_words Nan\n"));
}

}  // namespace
}  // namespace penstock::runtime
