#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "net/event_loop.h"
#include "sidecar/exchange.h"
#include "sidecar/executor.h"
#include "sidecar/load_reporter.h"
#include "sidecar/reply.h"

namespace penstock::sidecar {

// What the exchanges of a sidecar share: the executor, who can be cancelled by which attempt, and
// how many bytes are held. Owns the exchanges. Loop thread only.
class Service {
 public:
  struct Options {
    std::uint64_t max_request_body;  // bytes
    std::uint64_t max_held;          // bytes of all bodies together
    Duration write_timeout;          // of a response that its client does not read
    LoadReporter::Settings load{};
  };

  // executor outlives the exchanges.
  Service(net::EventLoop& loop, Logger& log, Metrics& metrics, Executor& executor,
          const Options& options);
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // Refuses new work from now on. on_idle: once, when the last exchange has ended; maybe at once.
  void drain(std::move_only_function<void()> on_idle);
  std::size_t exchanges() const { return exchanges_.size(); }

  Exchange& add(http::ServerStream& stream, Exchange::ReserveStream reserve_stream,
                const std::optional<Ends>& ends = {});
  // Null if it has ended.
  Exchange* find(std::uint64_t id) const;

  // For exchanges.

  Executor& executor() { return executor_; }
  LoadReporter& loadReporter() { return load_reporter_; }
  void addAttempt(const std::string& attempt, Exchange& exchange);
  void removeAttempt(const std::string& attempt, Exchange& exchange);
  // Whether there was one to be cancelled.
  bool cancelAttempt(std::string_view attempt);
  // Whether as many bytes could be held now.
  bool couldHold(std::uint64_t bytes) const { return held_ + bytes <= options_.max_held; }
  // Bytes of bodies; false if that would be more than may be held.
  bool hold(std::size_t bytes);
  void release(std::size_t bytes) { held_ -= bytes; }
  void destroy(Exchange& exchange);
  void countRefusal(Refusal refusal);
  // A response that had begun ends before its end.
  void responseBroke(Refusal why, std::string_view request_id);

  const Options& options() const { return options_; }
  net::EventLoop& loop() { return loop_; }
  Metrics& metrics() { return metrics_; }

 private:
  net::EventLoop& loop_;
  Logger& log_;
  Metrics& metrics_;
  Executor& executor_;
  const Options options_;
  LoadReporter load_reporter_;
  std::move_only_function<void()> on_idle_;
  std::uint64_t held_ = 0;
  std::uint64_t last_id_ = 0;
  std::unordered_map<std::string, std::uint64_t> attempts_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Exchange>> exchanges_;
};

}  // namespace penstock::sidecar
