#include "base/load_report/load_report_message.h"

#include <limits>

#include <gtest/gtest.h>

#include "tests/base/load_report/full_report.h"

namespace penstock {
namespace {

using namespace std::chrono_literals;

// A field of the wire: number and type, then a double, or a length and bytes.
std::string doubleField(int number, double value) {
  std::string bytes(1, static_cast<char>(number << 3 | 1));
  return bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}
std::string bytesField(int number, const std::string& content) {
  return std::string(1, static_cast<char>(number << 3 | 2)) + static_cast<char>(content.size()) +
         content;
}
std::string named(const std::string& name, double value) {
  return bytesField(8, bytesField(1, name) + doubleField(2, value));
}

LoadReportFault faultOf(std::string_view bytes) {
  const ParsedLoadReport parsed = parseLoadReportMessage(bytes);
  EXPECT_FALSE(parsed.has_value());
  return parsed.has_value() ? LoadReportFault{-1} : parsed.error();
}

TEST(LoadReportMessage, SaysEverythingAReportHas) {
  EXPECT_EQ(parseLoadReportMessage(toMessage(fullReport())), fullReport());
  EXPECT_EQ(parseLoadReportMessage(toMessage({})), LoadReport());
}

TEST(LoadReportMessage, HasTheNumbersOfOrca) {
  LoadReport expected;
  expected.cpu_utilization = 0.5;
  expected.mem_utilization = 0.25;
  expected.rps = 7;
  expected.eps = 2;
  expected.application_utilization = 3;
  expected.request_cost = {{"a", 1}};
  expected.utilization = {{"b", 0.5}};
  expected.gate_waiting = 9;
  const std::string bytes = doubleField(1, 0.5) + doubleField(2, 0.25) +
                            bytesField(4, bytesField(1, "a") + doubleField(2, 1)) +
                            bytesField(5, bytesField(1, "b") + doubleField(2, 0.5)) +
                            doubleField(6, 7) + doubleField(7, 2) +
                            named("penstock.gate_waiting", 9) + named("of.somebody", 1e12) +
                            doubleField(9, 3) + doubleField(15, 1);
  EXPECT_EQ(parseLoadReportMessage(bytes), expected);
}

TEST(LoadReportMessage, IsRefusedAsAWholeForOneWrongNumber) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(faultOf(doubleField(1, kNan)), LoadReportFault::kNotFinite);
  EXPECT_EQ(faultOf(doubleField(9, kInfinity)), LoadReportFault::kNotFinite);
  EXPECT_EQ(faultOf(named("of.somebody", -kInfinity)), LoadReportFault::kNotFinite);
  EXPECT_EQ(faultOf(doubleField(1, 1e300)), LoadReportFault::kOutOfRange);
  EXPECT_EQ(faultOf(doubleField(2, 1.5)), LoadReportFault::kOutOfRange);
  EXPECT_EQ(faultOf(doubleField(7, -1)), LoadReportFault::kOutOfRange);
  EXPECT_EQ(faultOf(named("of.somebody", -1)), LoadReportFault::kOutOfRange);
  EXPECT_EQ(faultOf(named("penstock.in_flight", 5e9)), LoadReportFault::kOutOfRange);
  EXPECT_EQ(faultOf(named("penstock.gate_busy", 1.1)), LoadReportFault::kOutOfRange);
  EXPECT_EQ(faultOf(named("penstock.in_flight", 1.5)), LoadReportFault::kWrongType);
  EXPECT_EQ(faultOf(named("a", 1) + named("a", 1)), LoadReportFault::kDuplicate);
  EXPECT_EQ(faultOf(named("", 1)), LoadReportFault::kSyntax);
  EXPECT_EQ(faultOf(named("a\x01", 1)), LoadReportFault::kSyntax);
}

TEST(LoadReportMessage, IsRefusedForAFieldOfAnotherTypeAndNotForOneThatIsNotOurs) {
  EXPECT_EQ(faultOf(bytesField(1, "hi")), LoadReportFault::kWrongType);
  EXPECT_EQ(faultOf("\x48\x05"), LoadReportFault::kWrongType) << "9, a varint";
  EXPECT_EQ(faultOf(doubleField(8, 1)), LoadReportFault::kWrongType);
  EXPECT_EQ(faultOf(bytesField(8, bytesField(1, "a") + bytesField(2, "1"))),
            LoadReportFault::kWrongType);
  LoadReport expected;
  expected.eps = 2;
  const std::string once_of_orca = "\x18\x05";
  EXPECT_EQ(parseLoadReportMessage(once_of_orca + bytesField(15, "new") + doubleField(7, 2)),
            expected);
}

TEST(LoadReportMessage, ThatIsNoneIsRefused) {
  EXPECT_EQ(faultOf("\x09"), LoadReportFault::kSyntax);
  EXPECT_EQ(faultOf("hello"), LoadReportFault::kSyntax);
  EXPECT_EQ(faultOf(std::string(1 << 20, '\0')), LoadReportFault::kTooLong);
  std::string many;
  for (int i = 0; i < 65; ++i) {
    many += named("m" + std::to_string(i), 1);
  }
  EXPECT_EQ(faultOf(many), LoadReportFault::kTooLong);
}

TEST(LoadReportRequest, NamesItsInterval) {
  EXPECT_EQ(parseLoadReportRequest(loadReportRequestMessage(2500ms)), 2500ms);
  EXPECT_EQ(parseLoadReportRequest(bytesField(1, std::string("\x08\x0a\x10\x05", 4))), 10s + 5ns);
  EXPECT_EQ(parseLoadReportRequest(""), 0s);
  EXPECT_EQ(parseLoadReportRequest(bytesField(2, "tokens")), 0s);
}

TEST(LoadReportRequest, ThatIsOddAsksForNothingOdd) {
  const std::string minus_one = std::string(9, '\xff') + '\x01';
  EXPECT_EQ(parseLoadReportRequest(bytesField(1, '\x08' + minus_one)), 0s);
  EXPECT_EQ(parseLoadReportRequest(bytesField(1, "\x08" + std::string(8, '\xff') + '\x7f')), 24h);
  EXPECT_EQ(parseLoadReportRequest("\x09"), std::nullopt);
  EXPECT_EQ(parseLoadReportRequest(std::string(1 << 20, '\0')), std::nullopt);
}

}  // namespace
}  // namespace penstock
