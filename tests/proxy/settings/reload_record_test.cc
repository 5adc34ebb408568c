#include "proxy/settings/reload_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/captured_log.h"

namespace penstock::proxy {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(ReloadRecord, TellsLogAndMetricsHowEachWent) {
  Metrics metrics;
  CapturedLog log;
  ReloadRecord record("p.yaml", metrics, log.logger());
  EXPECT_THAT(metrics.render(),
              AllOf(HasSubstr("penstock_config_reloads_total{result=\"success\"} 0"),
                    HasSubstr("penstock_config_reloads_total{result=\"failure\"} 0"),
                    HasSubstr("penstock_config_last_reload_success 1")));
  record.add(failure("p.yaml:1:2: wrong"), TimePoint());
  EXPECT_THAT(metrics.render(),
              AllOf(HasSubstr("penstock_config_reloads_total{result=\"failure\"} 1"),
                    HasSubstr("penstock_config_last_reload_success 0")));
  EXPECT_EQ(record.status().last_error, "p.yaml:1:2: wrong");
  record.add({}, TimePoint());
  EXPECT_THAT(metrics.render(),
              AllOf(HasSubstr("penstock_config_reloads_total{result=\"success\"} 1"),
                    HasSubstr("penstock_config_last_reload_success 1")));
  EXPECT_EQ(record.status().last_error, "");
}

}  // namespace
}  // namespace penstock::proxy
