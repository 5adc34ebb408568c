#include "proxy/cluster/health_checker.h"

#include <algorithm>
#include <utility>

namespace penstock::proxy {
namespace {

constexpr Duration kEagerDelay = std::chrono::milliseconds(25);
constexpr Duration kMaxEagerDelay = std::chrono::seconds(1);

}  // namespace

HealthChecker::HealthChecker(net::EventLoop& loop, const net::Address& address,
                             const Settings& settings, Verdict verdict, Passed passed,
                             std::move_only_function<void()> found_sidecar)
    : loop_(loop),
      address_(address),
      settings_(settings),
      verdict_(std::move(verdict)),
      passed_(std::move(passed)),
      found_sidecar_(std::move(found_sidecar)),
      timer_(loop, [this] { ask(); }),
      eager_delay_(kEagerDelay) {
  timer_.armAfter(Duration::zero());
}

void HealthChecker::ask() {
  asked_at_ = loop_.now();
  probe_.emplace(loop_, address_, settings_.probe,
                 [this](const http::HealthProbe::Answer& answer) { onAnswer(answer); });
}

void HealthChecker::onAnswer(const http::HealthProbe::Answer& answer) {
  if (answer.speaks_http1 && answer.status != 0) {
    settings_.probe.protocol = http::UpstreamProtocol::kHttp1;
  }
  if (answer.is_sidecar) {
    found_sidecar_();
  }
  const bool is_it = healthy_.has_value() || !settings_.is_it || settings_.is_it();
  const bool healthy = answer.healthy() && is_it;
  const std::string why = is_it ? answer.describe() : "another process listens at its address";
  against_ = healthy_ == healthy ? 0 : against_ + 1;
  std::uint32_t needed = healthy ? settings_.healthy_threshold : settings_.unhealthy_threshold;
  if (!healthy_.has_value()) {
    needed = healthy ? 1 : needed;
  }
  const bool changes = against_ >= needed && against_ > 0 && (healthy || !settings_.starting);
  probe_.reset();
  if (changes) {
    healthy_ = healthy;
    settings_.starting = false;
    against_ = 0;
  }
  timer_.armAfter(nextDelay());
  if (healthy) {
    passed_(asked_at_);
  }
  if (changes) {
    verdict_(healthy, why);
  }
}

Duration HealthChecker::nextDelay() {
  if (healthy_.has_value()) {
    return settings_.interval;
  }
  const Duration delay = std::min(eager_delay_, settings_.interval);
  eager_delay_ = std::min(eager_delay_ * 2, kMaxEagerDelay);
  return delay;
}

}  // namespace penstock::proxy
