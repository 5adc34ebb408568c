#include "proxy/filters/access_log/access_log.h"

#include <utility>

namespace penstock::proxy {
namespace {

constexpr std::size_t kBatchSize = 16 * 1024;
constexpr std::size_t kMaxLineSize = 16 * 1024;
constexpr Duration kFlushInterval = std::chrono::milliseconds(100);

}  // namespace

AccessLog::AccessLog(net::EventLoop& loop, LineSink& sink)
    : sink_(sink), timer_(loop, [this] { flush(); }) {}

AccessLog::~AccessLog() {
  flush();
}

void AccessLog::add(std::string_view line) {
  if (batch_.empty()) {
    timer_.armAfter(kFlushInterval);
  }
  batch_.append(line.substr(0, kMaxLineSize)).push_back('\n');
  if (batch_.size() >= kBatchSize) {
    flush();
  }
}

void AccessLog::flush() {
  timer_.disarm();
  if (!batch_.empty()) {
    sink_.write(std::exchange(batch_, {}));
  }
}

}  // namespace penstock::proxy
