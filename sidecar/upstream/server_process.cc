#include "sidecar/upstream/server_process.h"

#include <cstdint>
#include <string_view>
#include <utility>
#include <variant>

#include <unistd.h>

namespace penstock::sidecar {
namespace {

// 143: by a shell's count, signal 15.
bool isOrderly(std::string_view how) {
  return how == "exit code 0" || how == "exit code 143" || how == "signal 15";
}

// 137: by a shell's count, signal 9.
bool isKill(std::string_view how) {
  return how == "signal 9" || how == "exit code 137";
}

}  // namespace

ServerProcess::ServerProcess(net::EventLoop& loop, Logger& log, const ModelConfig& config)
    : loop_(loop),
      log_(log),
      config_(config),
      process_(*std::get<UpstreamModel>(config.kind).process),
      kill_(loop, [this] {
        kill();
        phase_ = Phase::kCut;
      }) {}

net::ChildProcess::Command ServerProcess::command() const {
  net::ChildProcess::Command result{.arguments = {"/bin/sh", "-c", process_.start_command},
                                    .directory = config_.directory,
                                    .environment = process_.environment};
  if (process_.user_id.has_value() && *process_.user_id != ::geteuid()) {
    const std::string id = std::to_string(*process_.user_id);
    // Another user's process does not keep what was asked for its parent's death.
    const std::vector<std::string> as_user{"/usr/bin/setpriv", "--reuid",     id,     "--regid", id,
                                           "--clear-groups",   "--pdeathsig", "KILL", "--"};
    result.arguments.insert(result.arguments.begin(), as_user.begin(), as_user.end());
  }
  return result;
}

Result<void> ServerProcess::start(std::move_only_function<void(const End& end)> ended) {
  ended_ = std::move(ended);
  auto child =
      net::ChildProcess::start(loop_, command(), [this](const std::string& how) { onExit(how); });
  if (!child) {
    return std::unexpected(child.error());
  }
  child_ = std::move(*child);
  output_.emplace(loop_, log_,
                  net::ChildLog::Origin{.what = "model server",
                                        .fields = {{"model", config_.model_name}},
                                        .pid = child_->pid(),
                                        .program = "model-server"},
                  child_->takeOutput());
  log_.info("model server started",
            {{"command", process_.start_command}, {"pid", std::int64_t{child_->pid()}}});
  return {};
}

bool ServerProcess::mayListenAt(const net::Address& address) const {
  return child_ != nullptr && child_->mayListenAt(address, net::Stranger::kNever);
}

void ServerProcess::drain() {
  if (phase_ == Phase::kServing) {
    phase_ = Phase::kDraining;
  }
}

void ServerProcess::stop(std::move_only_function<void()> stopped) {
  if (child_ == nullptr) {
    stopped();
    return;
  }
  phase_ = Phase::kStopping;
  stopped_ = std::move(stopped);
  child_->terminate();
  kill_.armAfter(process_.stop_timeout);
}

void ServerProcess::kill() {
  phase_ = Phase::kStopping;
  if (child_ != nullptr) {
    child_->kill();
  }
}

void ServerProcess::onExit(const std::string& how) {
  kill_.disarm();
  output_->finish();
  output_.reset();
  const End end{.how = how, .orderly = isOrderly(how)};
  if (phase_ == Phase::kStopping && isKill(how)) {
    phase_ = Phase::kCut;
  }
  const bool expected = phase_ == Phase::kStopping || (phase_ == Phase::kDraining && end.orderly);
  log_.log(expected ? LogLevel::kInfo : LogLevel::kError, "model server ended",
           {{"pid", std::int64_t{child_->pid()}}, {"how", how}});
  loop_.destroyLater(std::move(child_));
  if (phase_ == Phase::kServing || phase_ == Phase::kDraining) {
    std::exchange(ended_, nullptr)(end);
  } else if (stopped_) {
    std::exchange(stopped_, nullptr)();
  }
}

}  // namespace penstock::sidecar
