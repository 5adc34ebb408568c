#pragma once

#include <string>
#include <string_view>
#include <variant>

namespace penstock {

// A scalar as YAML 1.1 has it, and so as PyYAML's safe loader gives it to Python code. Our own
// sections are read more strictly, see base/yaml.h.
struct YamlScalar {
  struct Null {};
  // Any number of digits: "-12", "123456789012345678901234567890".
  struct Integer {
    std::string decimal;
  };
  // ISO 8601: "2001-12-14", "2001-12-14T21:59:43.100000-05:00", "…Z".
  struct Time {
    std::string iso;
  };
  std::variant<Null, bool, Integer, double, Time, std::string> value;

  // An unquoted scalar without a tag.
  static YamlScalar plain(std::string_view text);

  // JSON, in which a number that is not finite is written as Python's json module reads it:
  // Infinity, -Infinity, NaN.
  std::string json() const;
  // Python's str() of it, but "true" and "false" for a boolean: what Truss gives a variable of the
  // environment.
  std::string pythonText() const;
};

}  // namespace penstock
