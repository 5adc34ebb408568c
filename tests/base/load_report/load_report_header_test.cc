#include "base/load_report/load_report_header.h"

#include <gtest/gtest.h>

#include "tests/base/load_report/full_report.h"

namespace penstock {
namespace {

LoadReport cpuHalf() {
  LoadReport report;
  report.cpu_utilization = 0.5;
  report.gate_waiting = 2;
  return report;
}

std::string faultOf(std::string_view value) {
  const ParsedLoadReport parsed = parseLoadReportHeader(value);
  return parsed.has_value() ? "none" : std::string(toString(parsed.error()));
}

TEST(LoadReportHeader, SaysEverythingAReportHasInBothForms) {
  for (const LoadReportFormat format : {LoadReportFormat::kText, LoadReportFormat::kJson}) {
    EXPECT_EQ(parseLoadReportHeader(toHeader(fullReport(), format)), fullReport());
    EXPECT_EQ(parseLoadReportHeader(toHeader({}, format)), LoadReport());
  }
}

TEST(LoadReportHeader, LooksAsOrcaHasIt) {
  LoadReport report;
  report.utilization = {{"disk", 0.5}};
  report.gate_waiting = 2;
  EXPECT_EQ(toHeader(report, LoadReportFormat::kText),
            "TEXT cpu_utilization=0,mem_utilization=0,application_utilization=0,rps_fractional=0,"
            "eps=0,utilization.disk=0.5,named_metrics.penstock.gate_waiting=2,"
            "named_metrics.penstock.draining=0");
  EXPECT_EQ(toHeader(report, LoadReportFormat::kJson),
            "JSON {\"cpu_utilization\":0,\"mem_utilization\":0,\"application_utilization\":0,"
            "\"rps_fractional\":0,\"eps\":0,\"utilization\":{\"disk\":0.5},"
            "\"named_metrics\":{\"penstock.gate_waiting\":2,\"penstock.draining\":0}}");
}

TEST(LoadReportHeader, IsReadInTheFormsThatServersWrite) {
  for (const std::string_view value : {
           "TEXT cpu_utilization=0.5,named_metrics.penstock.gate_waiting=2",
           "text  cpu_utilization = 0.5 , named_metrics.penstock.gate_waiting=2 ",
           "cpu_utilization=0.5,named_metrics.penstock.gate_waiting=2",
           "cpu_utilization:0.5,named_metrics.penstock.gate_waiting:2",
           "TEXT cpu:5e-1,something_else:7,named_metrics.penstock.gate_waiting:2.0",
           "JSON {\"cpu_utilization\":0.5,\"named_metrics\":{\"penstock.gate_waiting\":2}}",
           "{\"cpuUtilization\": 0.5, \"namedMetrics\": {\"penstock.gate_waiting\": 2, \"x\": 1}}",
           "JSON {\"cpu_utilization\":0.5,\"eps\":null,"
           "\"named_metrics\":{\"penstock.gate_waiting\":2e0}}",
       }) {
    EXPECT_EQ(parseLoadReportHeader(value), cpuHalf()) << value;
  }
}

TEST(LoadReportHeader, IsRefusedAsAWholeForOneWrongNumber) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"TEXT cpu_utilization=nan", "not_finite"},
      {"TEXT cpu_utilization=0.5,eps=inf", "not_finite"},
      {"TEXT cpu_utilization=1e999", "not_finite"},
      {"TEXT cpu_utilization=1e300", "out_of_range"},
      {"TEXT cpu_utilization=-0.1", "out_of_range"},
      {"TEXT mem_utilization=1.01", "out_of_range"},
      {"TEXT utilization.disk=2", "out_of_range"},
      {"TEXT named_metrics.penstock.in_flight=1e10", "out_of_range"},
      {"TEXT named_metrics.penstock.in_flight=0.5", "wrong_type"},
      {"TEXT named_metrics.penstock.gpu_memory=5", "out_of_range"},
      {"TEXT cpu_utilization=high", "wrong_type"},
      {"TEXT cpu_utilization=0.5x", "wrong_type"},
      {"TEXT cpu_utilization=", "wrong_type"},
      {"TEXT cpu_utilization=0.5,cpu_utilization=0.5", "duplicate"},
      {"TEXT cpu=0.5,cpu_utilization=0.5", "duplicate"},
      {"TEXT named_metrics.x=1,named_metrics.x=2", "duplicate"},
      {"TEXT cpu_utilization", "syntax"},
      {"TEXT =1", "syntax"},
      {"TEXT a=1,,b=2", "syntax"},
      {"TEXT", "syntax"},
      {"", "syntax"},
      {"JSON {\"cpu_utilization\":NaN}", "syntax"},
      {"JSON {\"cpu_utilization\":1e999}", "not_finite"},
      {"JSON {\"cpu_utilization\":-1}", "out_of_range"},
      {"JSON {\"cpu_utilization\":\"0.5\"}", "wrong_type"},
      {"JSON {\"cpu_utilization\":true}", "wrong_type"},
      {"JSON {\"cpu_utilization\":{}}", "wrong_type"},
      {"JSON {\"cpu_utilization\":[1]}", "wrong_type"},
      {"JSON {\"named_metrics\":3}", "wrong_type"},
      {"JSON {\"named_metrics\":{\"a\":{\"b\":1}}}", "wrong_type"},
      {"JSON {\"eps\":1,\"eps\":1}", "duplicate"},
      {"JSON {\"named_metrics\":{\"x\":1,\"x\":1}}", "duplicate"},
      {"JSON {\"named_metrics\":{\"x\":1},\"namedMetrics\":{\"y\":1}}", "duplicate"},
      {"JSON {\"eps\":1", "syntax"},
      {"JSON {\"eps\":1} x", "syntax"},
      {"JSON 7", "wrong_type"},
      {"JSON []", "wrong_type"},
      {"JSON null", "syntax"},
      {"JSON", "syntax"},
  };
  for (const auto& [value, fault] : cases) {
    EXPECT_EQ(faultOf(value), fault) << value;
  }
}

TEST(LoadReportHeader, ThatIsLongIsRefusedBeforeItIsRead) {
  EXPECT_EQ(faultOf("TEXT " + std::string(1 << 20, 'x')), "too_long");
  EXPECT_EQ(faultOf("JSON " + std::string(kMaxLoadReportBytes - 5, '[')), "wrong_type");
  std::string many = "TEXT a=1";
  for (std::size_t i = 0; i < kMaxLoadReportMetrics; ++i) {
    many += ",m" + std::to_string(i) + "=1";
  }
  EXPECT_EQ(faultOf(many), "too_long");
  EXPECT_EQ(faultOf("TEXT " + std::string(kMaxLoadReportNameBytes + 1, 'n') + "=1"), "syntax");
}

TEST(LoadReportFormat, IsAWordInAnyCase) {
  EXPECT_EQ(parseLoadReportFormat("TEXT"), LoadReportFormat::kText);
  EXPECT_EQ(parseLoadReportFormat("json"), LoadReportFormat::kJson);
  EXPECT_EQ(parseLoadReportFormat("BIN"), std::nullopt);
  EXPECT_EQ(parseLoadReportFormat(""), std::nullopt);
}

}  // namespace
}  // namespace penstock
