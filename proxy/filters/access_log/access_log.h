#pragma once

#include <string>
#include <string_view>

#include "base/log.h"
#include "net/event_loop.h"

namespace penstock::proxy {

// Collects one worker's access log lines and hands them to the sink in batches: when 16 KiB have
// come together, and every 100 ms. Loop thread only.
class AccessLog {
 public:
  AccessLog(net::EventLoop& loop, LineSink& sink);
  ~AccessLog();

  // line: without its '\n'; cut at 16 KiB.
  void add(std::string_view line);

 private:
  void flush();

  LineSink& sink_;
  std::string batch_;
  net::Timer timer_;
};

}  // namespace penstock::proxy
