#include "sidecar/upstream/server_watch.h"

#include <algorithm>

namespace penstock::sidecar {
namespace {

using namespace std::chrono_literals;

constexpr Duration kFirstPause = 20ms;
constexpr Duration kPause = 1s;
constexpr Duration kAnswerTimeout = 2s;

}  // namespace

ServerWatch::ServerWatch(net::EventLoop& loop, const UpstreamModel& model, Owner& owner)
    : loop_(loop),
      model_(model),
      owner_(owner),
      pause_(kFirstPause),
      again_(loop, [this] { ask(); }),
      late_(loop, [this] { owner_.onServerLate(why_); }) {}

void ServerWatch::start() {
  if (model_.start_timeout.has_value()) {
    late_.armAfter(*model_.start_timeout);
  }
  again_.armAfter(Duration::zero());
}

http::HealthProbe::Settings ServerWatch::settings(const std::string& path) const {
  return {.protocol = model_.protocol, .path = path, .timeout = kAnswerTimeout};
}

void ServerWatch::ask() {
  const std::string& readiness = model_.readiness_endpoint;
  const std::string& liveness = model_.liveness_endpoint;
  awaited_ = 1;
  if (has_been_ready_ && !liveness.empty() && liveness != readiness) {
    ++awaited_;
    liveness_.emplace(
        loop_, model_.address, settings(liveness),
        [this](const http::HealthProbe::Answer& answer) { onLiveness(answer.healthy()); });
  }
  if (readiness.empty()) {
    connect_.emplace(loop_, model_.address, kAnswerTimeout, [this](net::CloseReason failure) {
      onReadiness(failure == net::CloseReason::kNone, std::string(net::toString(failure)));
    });
    return;
  }
  readiness_.emplace(loop_, model_.address, settings(readiness),
                     [this](const http::HealthProbe::Answer& answer) {
                       onReadiness(answer.healthy(), answer.describe());
                     });
}

void ServerWatch::onReadiness(bool ready, const std::string& why) {
  readiness_.reset();
  connect_.reset();
  why_ = why;
  if (ready && !ready_ && !owner_.isOwnServer()) {
    ready = false;
    why_ = "another process listens at the server's port";
  }
  ready_ = ready;
  const bool first = ready && !has_been_ready_;
  has_been_ready_ = has_been_ready_ || ready;
  if (has_been_ready_ && model_.liveness_endpoint == model_.readiness_endpoint &&
      !model_.liveness_endpoint.empty()) {
    live_ = ready;
  }
  answered();
  if (first) {
    late_.disarm();
    owner_.onServerReady();
  }
}

void ServerWatch::onLiveness(bool live) {
  liveness_.reset();
  live_ = live;
  answered();
}

void ServerWatch::answered() {
  if (--awaited_ > 0) {
    return;
  }
  again_.armAfter(has_been_ready_ ? kPause : pause_);
  pause_ = std::min(pause_ * 2, kPause);
}

}  // namespace penstock::sidecar
