#pragma once

#include <optional>
#include <string>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "base/log.h"

namespace penstock {

// A logger whose events are read back as JSON.
class CapturedLog {
 public:
  CapturedLog() {
    EXPECT_EQ(::pipe2(ends_, O_CLOEXEC), 0);
    ::fcntl(ends_[0], F_SETFL, O_NONBLOCK);
    ::fcntl(ends_[1], F_SETPIPE_SZ, 1 << 20);
    const int saved = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    ::dup2(ends_[1], STDERR_FILENO);
    logger_.emplace(Logger::Options{.level = LogLevel::kDebug, .program = "penstock-proxy"});
    ::dup2(saved, STDERR_FILENO);
    ::close(saved);
  }
  ~CapturedLog() {
    logger_.reset();
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  CapturedLog(const CapturedLog&) = delete;
  CapturedLog& operator=(const CapturedLog&) = delete;

  Logger& logger() { return *logger_; }
  // Every event with that message so far, in order.
  std::vector<nlohmann::json> events(const std::string& message) {
    // A thread writes them: what was logged before is read now.
    logger_->flush();
    readMore();
    std::vector<nlohmann::json> found;
    for (const nlohmann::json& event : events_) {
      if (event["message"] == message) {
        found.push_back(event);
      }
    }
    return found;
  }

 private:
  void readMore() {
    char block[4096];
    for (ssize_t n; (n = ::read(ends_[0], block, sizeof block)) > 0;) {
      text_.append(block, static_cast<std::size_t>(n));
    }
    for (std::size_t end; (end = text_.find('\n')) != std::string::npos;) {
      events_.push_back(nlohmann::json::parse(text_.substr(0, end)));
      text_.erase(0, end + 1);
    }
  }

  int ends_[2] = {-1, -1};
  std::optional<Logger> logger_;
  std::string text_;
  std::vector<nlohmann::json> events_;
};

}  // namespace penstock
