#include "sidecar/service.h"

#include <utility>

namespace penstock::sidecar {

Service::Service(net::EventLoop& loop, Logger& log, Metrics& metrics, Executor& executor,
                 const Options& options)
    : loop_(loop),
      log_(log),
      metrics_(metrics),
      executor_(executor),
      options_(options),
      load_reporter_(loop, metrics, executor, options.load) {
  metrics.callback("penstock_buffered_bytes", "Bytes of request bodies held", {}, false,
                   [this] { return static_cast<double>(held_); });
}

Service::~Service() = default;

void Service::drain(std::move_only_function<void()> on_idle) {
  executor_.drain();
  load_reporter_.drain();
  on_idle_ = std::move(on_idle);
  if (exchanges_.empty()) {
    std::exchange(on_idle_, nullptr)();
  }
}

Exchange& Service::add(http::ServerStream& stream, Exchange::ReserveStream reserve_stream,
                       const std::optional<Ends>& ends) {
  const std::uint64_t id = ++last_id_;
  auto exchange = std::make_unique<Exchange>(*this, id, stream, std::move(reserve_stream), ends);
  return *exchanges_.emplace(id, std::move(exchange)).first->second;
}

Exchange* Service::find(std::uint64_t id) const {
  const auto at = exchanges_.find(id);
  return at == exchanges_.end() ? nullptr : at->second.get();
}

// An attempt is one request; should two come under one name, the first has it.
void Service::addAttempt(const std::string& attempt, Exchange& exchange) {
  if (!attempt.empty()) {
    attempts_.try_emplace(attempt, exchange.id());
  }
}

void Service::removeAttempt(const std::string& attempt, Exchange& exchange) {
  if (attempt.empty()) {
    return;
  }
  const auto at = attempts_.find(attempt);
  if (at != attempts_.end() && at->second == exchange.id()) {
    attempts_.erase(at);
  }
}

bool Service::cancelAttempt(std::string_view attempt) {
  const auto at = attempts_.find(std::string(attempt));
  if (at == attempts_.end()) {
    return false;
  }
  exchanges_.at(at->second)->cancel();
  return true;
}

bool Service::hold(std::size_t bytes) {
  if (!couldHold(bytes)) {
    return false;
  }
  held_ += bytes;
  return true;
}

void Service::destroy(Exchange& exchange) {
  auto node = exchanges_.extract(exchange.id());
  loop_.destroyLater(std::move(node.mapped()));
  if (exchanges_.empty() && on_idle_) {
    std::exchange(on_idle_, nullptr)();
  }
}

void Service::countRefusal(Refusal refusal) {
  metrics_
      .counter("penstock_refused_total", "Requests that the sidecar itself answered with an error",
               {{"reason", std::string(reasonWord(refusal))}})
      .add();
}

void Service::responseBroke(Refusal why, std::string_view request_id) {
  log_.warning("a response broke off", {{"request_id", request_id}, {"reason", reasonWord(why)}});
  metrics_
      .counter("penstock_responses_broken_total",
               "Responses that had begun and broke off before their end",
               {{"reason", std::string(reasonWord(why))}})
      .add();
}

}  // namespace penstock::sidecar
