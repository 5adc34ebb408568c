#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/log.h"
#include "net/event_loop.h"
#include "net/process/child_process.h"
#include "net/process/line_splitter.h"
#include "net/unique_fd.h"

namespace penstock::net {

// Passes on what a child process writes to its standard output and error, line by line, into this
// program's log, with the fields of its origin and the process id. A line that is a JSON object
// with a message keeps its level, program, message and plain fields; any other line becomes the
// field "line" of an event "… output", whose level is that of the word that it begins with
// ("ERROR name: text", as Python's logging writes), else info. A process that writes more than 200
// lines a second, beyond a burst of 1000, loses the rest, which is counted. The process never
// blocks on its output. Loop thread only.
class ChildLog {
 public:
  struct Origin {
    std::string what;  // "replica": names the events
    std::vector<std::pair<std::string, std::string>> fields;
    std::int64_t pid = 0;
    std::string program;  // whose JSON lines are passed on, unless they say so themselves
  };

  ChildLog(EventLoop& loop, Logger& logger, Origin origin, ChildProcess::Output output);

  // The process has ended: passes on what lies in the pipes (at most 1 MiB each) and closes them.
  void finish();

 private:
  struct Stream {
    Stream(EventLoop& loop, UniqueFd the_fd, LineSplitter::Take take,
           std::move_only_function<void()> readable);
    UniqueFd fd;
    LineSplitter lines;
    std::optional<FdWatch> watch;
  };
  void read(Stream& stream, std::size_t max_bytes);
  void passOn(std::string_view line);
  bool passOnJson(std::string_view line);
  std::vector<LogField> originFields() const;
  bool mayPass();
  void tellDropped();

  EventLoop& loop_;
  Logger& logger_;
  const Origin origin_;
  double allowance_;
  TimePoint refilled_at_;
  std::uint64_t dropped_ = 0;
  Stream output_;
  Stream error_;
};

}  // namespace penstock::net
