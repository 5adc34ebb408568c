#include "base/load_report/load_report_json.h"

#include <deque>
#include <optional>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/load_report/load_report_fields.h"

namespace penstock {
namespace {

// Hears the document piece by piece: nothing nests deeper than a map of the report, and a key that
// comes twice is seen, which a tree of values would hide.
class ReportReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  LoadReportBuilder& builder() { return builder_; }

  bool null() override { return depth_ > 0; }  // "as if it were not there"
  bool boolean(bool) override { return wrongType(); }
  bool string(string_t&) override { return wrongType(); }
  bool binary(binary_t&) override { return wrongType(); }
  bool start_array(std::size_t) override { return wrongType(); }
  bool end_array() override { return false; }
  bool number_integer(number_integer_t value) override {
    return number(static_cast<double>(value));
  }
  bool number_unsigned(number_unsigned_t value) override {
    return number(static_cast<double>(value));
  }
  bool number_float(number_float_t value, const string_t&) override { return number(value); }

  bool start_object(std::size_t) override {
    if (depth_ == 2 || (depth_ == 1 && !opened_.has_value())) {
      return wrongType();
    }
    ++depth_;
    return true;
  }
  bool end_object() override {
    --depth_;
    return true;
  }
  bool key(string_t& name) override;

  // A number too large for a double comes here, too; nlohmann says so by the id of the error.
  bool parse_error(std::size_t, const std::string&,
                   const nlohmann::json::exception& error) override {
    constexpr int kNumberOverflow = 406;
    builder_.refuse(error.id == kNumberOverflow ? LoadReportFault::kNotFinite
                                                : LoadReportFault::kSyntax);
    return false;
  }

 private:
  bool wrongType() {
    builder_.refuse(LoadReportFault::kWrongType);
    return false;
  }
  bool number(double value);

  LoadReportBuilder builder_;
  int depth_ = 0;
  // The map whose name was the last key of the outer object.
  std::optional<MetricGroup> opened_;
  std::deque<std::string> names_;  // the builder looks at them until it is finished
};

std::string snakeCase(std::string_view name) {
  std::string result;
  for (const char c : name) {
    if (c >= 'A' && c <= 'Z') {
      result += '_';
      result += static_cast<char>(c - 'A' + 'a');
    } else {
      result += c;
    }
  }
  return result;
}

std::optional<MetricGroup> mapNamed(std::string_view name) {
  if (name == "named_metrics") {
    return MetricGroup::kNamed;
  }
  if (name == "utilization") {
    return MetricGroup::kUtilization;
  }
  if (name == "request_cost") {
    return MetricGroup::kRequestCost;
  }
  return std::nullopt;
}

bool ReportReader::key(string_t& name) {
  if (depth_ == 2) {
    names_.push_back(std::move(name));
    return true;
  }
  names_.push_back(snakeCase(name));
  opened_ = mapNamed(names_.back());
  if (opened_.has_value()) {
    // Beside the numbers, so that a map that comes twice is a duplicate like them.
    builder_.add(MetricGroup::kTop, names_.back(), 0);
  }
  return !builder_.refused();
}

bool ReportReader::number(double value) {
  if (depth_ == 0 || (depth_ == 1 && opened_.has_value())) {
    return wrongType();
  }
  builder_.add(depth_ == 1 ? MetricGroup::kTop : *opened_, names_.back(), value);
  return !builder_.refused();
}

}  // namespace

ParsedLoadReport parseLoadReportJson(std::string_view json) {
  ReportReader reader;
  if (!nlohmann::json::sax_parse(json, &reader)) {
    reader.builder().refuse(LoadReportFault::kSyntax);
  }
  return std::move(reader.builder()).finish();
}

}  // namespace penstock
