#include "proxy/scaling/replica_process.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/quantity.h"
#include "net/process/program_path.h"

namespace penstock::proxy {
namespace {

// A sidecar is handed the socket that is bound to its address, so the address is its own from the
// start. Other programs bind it themselves.
bool takesSocket(const std::string& program) {
  return std::filesystem::path(program).filename() == "penstock-sidecar";
}

void replaceAll(std::string& text, std::string_view what, std::string_view by) {
  for (std::size_t at = text.find(what); at != std::string::npos;
       at = text.find(what, at + by.size())) {
    text.replace(at, what.size(), by);
  }
}

// How often one that is to go is looked at. Nobody waits for that.
constexpr Duration kIdleCheck = std::chrono::milliseconds(50);

}  // namespace

ReplicaTimes::ReplicaTimes(Metrics& metrics, const std::string& cluster)
    : start_seconds(metrics.histogram("penstock_replica_start_seconds",
                                      "Time from the start of a replica's process to ready.",
                                      {{"cluster", cluster}}, Metrics::latencyBounds())),
      stop_seconds(metrics.histogram(
          "penstock_replica_stop_seconds",
          "Time from the decision to stop a replica to the end of its process, draining included.",
          {{"cluster", cluster}}, Metrics::latencyBounds())) {}

void ReplicaTimes::started(Duration time) {
  start_seconds.observe(inSeconds(time));
  last_start = time;
}

ReplicaProcess::ReplicaProcess(net::EventLoop& loop, const std::string& cluster,
                               const ProcessReplicas& config, const RestartPolicy& policy,
                               LoopbackPorts& ports, ReplicaHealth& health, ReplicaTimes& times,
                               Logger& logger)
    : loop_(loop),
      cluster_(cluster),
      config_(config),
      policy_(policy),
      ports_(ports),
      health_(health),
      times_(times),
      logger_(logger),
      back_off_(policy.first),
      restart_(loop, [this] { start(); }),
      start_timeout_(loop, [this] { onStartTimeout(); }),
      kill_(loop, [this] { child_->kill(); }),
      idle_check_(loop, [this] { endWhenIdle(); }) {}

ReplicaProcess::~ReplicaProcess() = default;

void ReplicaProcess::start() {
  if (const Result<void> launched = launch(); !launched) {
    logger_.error("replica not started",
                  {{"cluster", cluster_}, {"why", launched.error().message}});
    trouble_ = launched.error().message;
    startAgainLater();
  }
}

std::vector<std::string> ReplicaProcess::command(const net::Address& address) const {
  std::vector<std::string> result = config_.command;
  for (std::string& argument : result) {
    replaceAll(argument, "{address}", address.toString());
  }
  return result;
}

Result<void> ReplicaProcess::launch() {
  auto claim = ports_.claim();
  if (!claim) {
    return std::unexpected(claim.error());
  }
  const net::Address address = (*claim)->address();
  std::vector<std::string> arguments = command(address);
  const Result<std::string> program = net::findProgram(arguments.front());
  if (!program) {
    return std::unexpected(program.error());
  }
  arguments.front() = *program;
  if (!takesSocket(*program)) {
    (*claim)->release();
  }
  auto child = net::ChildProcess::start(loop_,
                                        {.arguments = std::move(arguments),
                                         .descriptor = (*claim)->socket(),
                                         .descriptor_is_socket = true},
                                        [this](const std::string& how) { onExit(how); });
  if (!child) {
    return std::unexpected(child.error());
  }
  (*claim)->release();
  claim_ = std::move(*claim);
  child_ = std::move(*child);
  address_ = address.toString();
  log_.emplace(
      loop_, logger_,
      net::ChildLog::Origin{.what = "replica",
                            .fields = {{"cluster", cluster_}, {"replica", address_}},
                            .pid = child_->pid(),
                            .program = std::filesystem::path(*program).filename().string()},
      child_->takeOutput());
  logger_.info("replica started", {{"cluster", cluster_},
                                   {"address", address_},
                                   {"pid", std::int64_t{child_->pid()}},
                                   {"command", *program}});
  start_timeout_.armAfter(config_.start_timeout);
  started_at_ = loop_.now();
  id_ = health_.addStarting(
      address, [this] { onReady(); },
      [this, address] {
        return child_ != nullptr && child_->mayListenAt(address, net::Stranger::kMayBeStartedByIt);
      });
  return {};
}

void ReplicaProcess::onReady() {
  start_timeout_.disarm();
  trouble_.clear();
  ready_since_ = loop_.now();
  times_.started(*ready_since_ - started_at_);
}

bool ReplicaProcess::ready() const {
  return id_.has_value() && ready_since_.has_value() && health_.isReady(*id_);
}

std::uint32_t ReplicaProcess::inFlight() const {
  return id_.has_value() ? health_.inFlight(*id_) : 0;
}

void ReplicaProcess::onStartTimeout() {
  trouble_ = "not ready within start_timeout (" + penstock::toString(config_.start_timeout) + ")";
  logger_.warning(
      "replica not ready in time",
      {{"cluster", cluster_}, {"address", address_}, {"pid", std::int64_t{child_->pid()}}});
  end();
}

void ReplicaProcess::end() {
  start_timeout_.disarm();
  health_.drain(*id_);
  child_->terminate();
  kill_.armAfter(config_.stop_timeout);
}

void ReplicaProcess::onExit(const std::string& how) {
  kill_.disarm();
  start_timeout_.disarm();
  idle_check_.disarm();
  log_->finish();
  log_.reset();
  health_.remove(*std::exchange(id_, std::nullopt));
  logger_.log(stopping_ ? LogLevel::kInfo : LogLevel::kWarning, "replica ended",
              {{"cluster", cluster_},
               {"address", address_},
               {"pid", std::int64_t{child_->pid()}},
               {"how", how}});
  loop_.destroyLater(std::move(child_));
  claim_.reset();
  if (stopping_) {
    times_.stop_seconds.observe(inSeconds(loop_.now() - stop_asked_at_));
    loop_.post(std::move(stopped_));
    return;
  }
  if (const auto since = std::exchange(ready_since_, std::nullopt);
      since.has_value() && loop_.now() - *since >= policy_.reset_after) {
    back_off_ = policy_.first;
  }
  if (trouble_.empty()) {
    trouble_ = "it ended: " + how;
  }
  startAgainLater();
}

void ReplicaProcess::startAgainLater() {
  restart_.armAfter(back_off_);
  back_off_ = std::min(back_off_ * 2, policy_.longest);
}

void ReplicaProcess::retire(std::move_only_function<void()> stopped) {
  if (!ready_since_.has_value() || kill_.armed()) {
    return stop(std::move(stopped));
  }
  stopping_ = true;
  stop_asked_at_ = loop_.now();
  stopped_ = std::move(stopped);
  drained_by_ = Deadline::after(stop_asked_at_, config_.drain_timeout);
  health_.drain(*id_);
  endWhenIdle();
}

void ReplicaProcess::endWhenIdle() {
  if (inFlight() == 0 || drained_by_.passed(loop_.now())) {
    end();
  } else {
    idle_check_.armAfter(kIdleCheck);
  }
}

bool ReplicaProcess::takeBack() {
  if (!idle_check_.armed()) {
    return false;
  }
  idle_check_.disarm();
  stopping_ = false;
  stopped_ = nullptr;
  health_.resume(*id_);
  return true;
}

void ReplicaProcess::stop(std::move_only_function<void()> stopped) {
  if (!std::exchange(stopping_, true)) {
    stop_asked_at_ = loop_.now();
  }
  restart_.disarm();
  idle_check_.disarm();
  if (child_ == nullptr) {
    loop_.post(std::move(stopped));
    return;
  }
  stopped_ = std::move(stopped);
  // It may have been told to end already.
  if (!kill_.armed()) {
    end();
  }
}

}  // namespace penstock::proxy
