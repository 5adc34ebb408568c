#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace penstock::net {

// Cuts a stream of bytes into lines, without their ends. What is beyond max_bytes in one line is
// dropped. A value, more or less.
class LineSplitter {
 public:
  static constexpr std::size_t kMaxLineBytes = 16 * 1024;
  using Take = std::function<void(std::string_view line)>;

  explicit LineSplitter(Take take, std::size_t max_bytes = kMaxLineBytes)
      : take_(std::move(take)), max_bytes_(max_bytes) {}

  void feed(std::string_view bytes) {
    while (!bytes.empty()) {
      const std::size_t end = bytes.find('\n');
      const std::string_view piece = bytes.substr(0, end);
      line_.append(piece.substr(0, max_bytes_ - line_.size()));
      if (end == std::string_view::npos) {
        return;
      }
      takeLine();
      bytes.remove_prefix(end + 1);
    }
  }
  // A last line that has no end.
  void finish() {
    if (!line_.empty()) {
      takeLine();
    }
  }

 private:
  void takeLine() {
    if (line_.ends_with('\r')) {
      line_.pop_back();
    }
    if (!line_.empty()) {
      take_(line_);
    }
    line_.clear();
  }

  Take take_;
  std::size_t max_bytes_;
  std::string line_;
};

}  // namespace penstock::net
