#include "base/yaml_scalar.h"

#include <string>
#include <utility>

#include <gtest/gtest.h>

namespace penstock {
namespace {

// What PyYAML's safe loader makes of each.
TEST(YamlScalar, ReadsWhatYaml11Reads) {
  const std::pair<const char*, const char*> rows[] = {
      {"", "null"},
      {"~", "null"},
      {"Null", "null"},
      {"yes", "true"},
      {"On", "true"},
      {"NO", "false"},
      {"y", R"("y")"},
      {"yEs", R"("yEs")"},
      {"0", "0"},
      {"-0", "0"},
      {"+5", "5"},
      {"-12", "-12"},
      {"1_000", "1000"},
      {"1__0_", "10"},
      {"_1", R"("_1")"},
      {"017", "15"},
      {"0_", "0"},
      {"09", R"("09")"},
      {"0o17", R"("0o17")"},
      {"0b101", "5"},
      {"0b", R"("0b")"},
      {"0b2", R"("0b2")"},
      {"0x1F", "31"},
      {"0X1F", R"("0X1F")"},
      {"-0x_1f", "-31"},
      {"0xFFFFFFFFFFFFFFFFFFFF", "1208925819614629174706175"},
      {"123456789012345678901234567890", "123456789012345678901234567890"},
      {"12:30:45", "45045"},
      {"-12:30", "-750"},
      {"190:20:30", "685230"},
      {"1:5", "65"},
      {"1:60", R"("1:60")"},
      {"1:2:", R"("1:2:")"},
      {"0:30", R"("0:30")"},
      {".5", "0.5"},
      {"5.", "5.0"},
      {"+1.5", "1.5"},
      {"+.5", R"("+.5")"},
      {"-.5", R"("-.5")"},
      {"._5", R"("._5")"},
      {".", R"(".")"},
      {"1.5_0", "1.5"},
      {"1.5e+3", "1500.0"},
      {"1.e-2", "0.01"},
      {"0.1E-7", "1e-08"},
      {"1.0e+16", "1e+16"},
      {"1.0e+15", "1000000000000000.0"},
      {"1.5e3", R"("1.5e3")"},
      {"1e3", R"("1e3")"},
      {"1e+3", R"("1e+3")"},
      {"1.0e+400", "Infinity"},
      {"1.0e-400", "0.0"},
      {"1:30.5", "90.5"},
      {"1:30.54", "90.53999999999999"},
      {"1:2:3.25", "3723.25"},
      {".inf", "Infinity"},
      {"+.INF", "Infinity"},
      {"-.Inf", "-Infinity"},
      {".NaN", "NaN"},
      {"-.nan", R"("-.nan")"},
      {"inf", R"("inf")"},
      {"=", R"("=")"},
      {"a\"b", R"("a\"b")"},
  };
  for (const auto& [text, json] : rows) {
    EXPECT_EQ(YamlScalar::plain(text).json(), json) << text;
  }
}

TEST(YamlScalar, WritesTimesAsIso8601) {
  const std::pair<const char*, const char*> rows[] = {
      {"2020-01-31", R"("2020-01-31")"},
      {"2001-12-14t21:59:43.10-05:00", R"("2001-12-14T21:59:43.100000-05:00")"},
      {"2001-12-14 21:59:43 Z", R"("2001-12-14T21:59:43Z")"},
      {"2001-1-4  1:02:03.1234567 +5", R"("2001-01-04T01:02:03.123456+05:00")"},
      {"2001-1-4 1:02:03.", R"("2001-01-04T01:02:03")"},
      // No times, though some of them look so.
      {"2020-1-31", R"("2020-1-31")"},
      {"2020-02-30", R"("2020-02-30")"},
      {"2020-01-01 25:00:00", R"("2020-01-01 25:00:00")"},
      {"2020-01-01 1:2:3", R"("2020-01-01 1:2:3")"},
      {"2020-01-01T10:00:00 +", R"("2020-01-01T10:00:00 +")"},
  };
  for (const auto& [text, json] : rows) {
    EXPECT_EQ(YamlScalar::plain(text).json(), json) << text;
  }
}

TEST(YamlScalar, IsTextAsPythonWritesIt) {
  const std::pair<const char*, const char*> rows[] = {
      {"null", "None"},
      {"Yes", "true"},
      {"off", "false"},
      {"0x10", "16"},
      {"5.", "5.0"},
      {"1.5e+20", "1.5e+20"},
      {"-.inf", "-inf"},
      {".nan", "nan"},
      {"2020-01-01", "2020-01-01"},
      {"2001-12-14 21:59:43.5Z", "2001-12-14 21:59:43.500000+00:00"},
      {"a b", "a b"},
  };
  for (const auto& [text, python] : rows) {
    EXPECT_EQ(YamlScalar::plain(text).pythonText(), python) << text;
  }
}

// The time to read it would grow with the square of the digits.
TEST(YamlScalar, LeavesANumberOfTooManyDigitsAsText) {
  const std::string most = "0x" + std::string(4300, 'f');
  EXPECT_NE(YamlScalar::plain(most).json().front(), '"');
  EXPECT_EQ(YamlScalar::plain(most + "f").json(), '"' + most + "f\"");
}

}  // namespace
}  // namespace penstock
