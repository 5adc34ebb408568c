#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/clock.h"
#include "base/metrics.h"
#include "model_runtime/runtime.h"
#include "net/event_loop.h"
#include "sidecar/exchange.h"
#include "sidecar/model_config.h"
#include "sidecar/reply.h"

namespace penstock::sidecar {

// What the exchanges of a sidecar share: the runtime once the model is loaded, who can be cancelled
// by which attempt, and how many bytes are held. Owns the exchanges. Loop thread only, except that
// the runtime reports from its own threads.
class Service {
 public:
  Service(net::EventLoop& loop, Metrics& metrics, const ModelConfig& config);
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // The model is loaded: predict from now on. runtime outlives the exchanges.
  void setRuntime(runtime::Runtime& runtime) { runtime_ = &runtime; }
  // Refuses new work from now on. on_idle: once, when the last exchange has ended; maybe at once.
  void drain(std::move_only_function<void()> on_idle);
  // Cancels all work.
  void cancelAll();
  std::size_t exchanges() const { return exchanges_.size(); }

  Exchange& add(http::ServerStream& stream, Exchange::Linger linger);

  // For exchanges.

  // Why a request would not be taken now, if so.
  std::optional<Refusal> unready() const;
  // The outcome comes to the exchange of that id in a later turn.
  std::expected<runtime::RequestHandle, Refusal> submit(runtime::Runtime::Submission submission,
                                                        std::uint64_t exchange);
  void addAttempt(const std::string& attempt, Exchange& exchange);
  void removeAttempt(const std::string& attempt, Exchange& exchange);
  // Whether there was one to be cancelled.
  bool cancelAttempt(std::string_view attempt);
  // Bytes of bodies; false if that would be more than may be held.
  bool hold(std::size_t bytes);
  void release(std::size_t bytes) { held_ -= bytes; }
  void destroy(Exchange& exchange);
  void countRefusal(Refusal refusal);

  std::uint64_t maxRequestBody() const { return max_request_body_; }
  const Clock& clock() const { return loop_.clock(); }
  Metrics& metrics() { return metrics_; }

 private:
  net::EventLoop& loop_;
  Metrics& metrics_;
  const std::uint64_t max_request_body_;
  const std::uint64_t max_held_;
  runtime::Runtime* runtime_ = nullptr;
  bool draining_ = false;
  std::move_only_function<void()> on_idle_;
  std::uint64_t held_ = 0;
  std::uint64_t last_id_ = 0;
  std::unordered_map<std::string, std::uint64_t> attempts_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Exchange>> exchanges_;
};

}  // namespace penstock::sidecar
