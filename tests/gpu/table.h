#pragma once

#include <cstdio>
#include <string>

namespace penstock {

// The rows that gpu_check prints, in Markdown, and whether all of them are as they should be.
class Table {
 public:
  void row(const std::string& what, const std::string& measured, const std::string& wanted,
           bool good) {
    std::printf("| %s | %s | %s | %s |\n", what.c_str(), measured.c_str(), wanted.c_str(),
                good ? "ok" : "NOT");
    std::fflush(stdout);
    all_good_ = all_good_ && good;
  }
  void figure(const std::string& what, const std::string& measured) {
    row(what, measured, "", true);
  }
  bool allGood() const { return all_good_; }

 private:
  bool all_good_ = true;
};

inline std::string text(const char* format, double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, format, value);
  return buffer;
}

}  // namespace penstock
