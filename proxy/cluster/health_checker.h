#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

#include "net/address.h"
#include "net/event_loop.h"
#include "net/http/health_probe.h"

namespace penstock::proxy {

// Asks one replica again and again whether it is healthy, and reports when the verdict changes, and
// each check that the replica passes. Until the first verdict it asks more often, so that a replica
// that starts is used soon after it is ready. Reports, too, that the replica is a sidecar. Loop
// thread only.
class HealthChecker {
 public:
  struct Settings {
    http::HealthProbe::Settings probe{};
    Duration interval = std::chrono::seconds(5);
    std::uint32_t unhealthy_threshold = 3;  // failures in a row
    std::uint32_t healthy_threshold = 1;    // successes in a row, after a failure
    // The replica is being started: until it has been healthy once, failures are no verdict.
    bool starting = false;
    // Whether it is that replica who answers at its address; asked until it has been healthy once.
    // Empty: yes.
    std::function<bool()> is_it{};
  };
  // why: what was answered last, valid during the call.
  using Verdict = std::move_only_function<void(bool healthy, std::string_view why)>;
  using Passed = std::move_only_function<void(TimePoint asked_at)>;

  // The first question is asked in the next turn. found_sidecar is called at each answer of one.
  HealthChecker(net::EventLoop& loop, const net::Address& address, const Settings& settings,
                Verdict verdict, Passed passed, std::move_only_function<void()> found_sidecar);

 private:
  void ask();
  void onAnswer(const http::HealthProbe::Answer& answer);
  Duration nextDelay();

  net::EventLoop& loop_;
  const net::Address address_;
  Settings settings_;
  Verdict verdict_;
  Passed passed_;
  std::move_only_function<void()> found_sidecar_;
  net::Timer timer_;
  TimePoint asked_at_{};
  std::optional<http::HealthProbe> probe_;
  std::optional<bool> healthy_;
  std::uint32_t against_ = 0;  // answers in a row that contradict the verdict
  Duration eager_delay_;
};

}  // namespace penstock::proxy
