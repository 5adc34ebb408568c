#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "model_runtime/python/channel.h"
#include "model_runtime/python/frame.h"
#include "model_runtime/python/lane_memory.h"
#include "net/event_loop.h"
#include "net/process/child_log.h"
#include "net/process/child_process.h"

namespace penstock::runtime {

// One life of the worker process: started, told START, heard until it ends. What breaks the
// protocol is killed. Its output becomes log lines. Loop thread only.
class Worker final : private Channel::Handler {
 public:
  struct Options {
    std::string interpreter;  // path of a Python
    std::string package;      // path of the folder penstock_worker
    std::string directory;    // to work in
    std::vector<std::pair<std::string, std::string>> environment;
    std::string start;  // the payload of START
  };

  class Owner {
   public:
    virtual ~Owner() = default;
    // payload: of LOADED.
    virtual std::string onLoaded(std::string_view payload) = 0;
    // Why the model was not loaded; the worker ends now.
    virtual void onLoadFailed(std::string_view why) = 0;
    // A frame about a request, or HEALTHY. Returns what is wrong with it; empty if nothing is.
    virtual std::string onWorkerFrame(Frame& frame) = 0;
    // The last call; the owner frees it with EventLoop::destroyLater. how: "signal 9", …
    virtual void onWorkerEnded(const std::string& how) = 0;
  };

  static Result<std::unique_ptr<Worker>> start(net::EventLoop& loop, const Options& options,
                                               std::size_t lanes, Logger& log, Owner& owner);
  // Kills what runs.
  ~Worker() override;

  Channel& channel() { return channel_; }
  std::int64_t pid() const { return child_->pid(); }
  // The ids of what its lanes began last, as far as it left word of that; for when it has ended.
  std::vector<std::uint64_t> lastBegun() const { return lane_memory_.ids(); }
  // Lets it end in its own way, and kills it if it does not within a few seconds. (It does not
  // listen to signals: they are for the whole service.)
  void hangUp();
  void kill() { child_->kill(); }

 private:
  Worker(net::EventLoop& loop, net::UniqueFd socket, LaneMemory lane_memory, Logger& log,
         Owner& owner);

  std::string onFrame(Frame& frame) override;
  void onChannelClosed(std::string_view broken) override;
  std::string onHello(const Frame& frame);
  std::string onLog(const Frame& frame);
  void onExit(const std::string& how);

  net::EventLoop& loop_;
  Logger& log_;
  Owner& owner_;
  bool greeted_ = false;
  bool loaded_ = false;
  Channel channel_;
  LaneMemory lane_memory_;
  std::unique_ptr<net::ChildProcess> child_;
  std::optional<net::ChildLog> output_;
  net::Timer kill_;
};

}  // namespace penstock::runtime
