#include "proxy/scaling/dns_provider.h"

#include <algorithm>
#include <utility>
#include <variant>

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;

constexpr Duration kFirstBackOff = 1s;
constexpr Duration kLongestBackOff = 30s;

}  // namespace

DnsProvider::DnsProvider(net::EventLoop& loop, const ClusterConfig& cluster,
                         std::unique_ptr<net::AddressLookup> lookup, ReplicaHealth& health,
                         Metrics& metrics, Logger& logger)
    : loop_(loop),
      cluster_(cluster.name),
      config_(std::get<DnsReplicas>(cluster.replicas)),
      logger_(logger),
      replicas_(health),
      jitter_(std::random_device{}()),
      refresh_(loop, [this] { lookUp(); }),
      lookup_(std::move(lookup)) {
  const auto counter = [&](const char* result) {
    return metrics.counter("penstock_dns_lookups_total", "Lookups of a cluster's name, by result.",
                           {{"cluster", cluster_}, {"result", result}});
  };
  answers_ = counter("addresses");
  empty_answers_ = counter("empty");
  failures_ = counter("failure");
  addresses_ = metrics.gauge("penstock_dns_addresses", "Addresses in the answer that is in effect.",
                             {{"cluster", cluster_}});
}

void DnsProvider::start() {
  lookUp();
}

void DnsProvider::stop(std::move_only_function<void()> stopped) {
  refresh_.disarm();
  lookup_.reset();
  loop_.post(std::move(stopped));
}

void DnsProvider::lookUp() {
  lookup_->start([this](Result<net::FoundAddresses> found) {
    refresh_.armAfter(found ? take(*found) : failed(found.error().message));
  });
}

Duration DnsProvider::take(const net::FoundAddresses& found) {
  if (std::exchange(back_off_, Duration::zero()) != Duration::zero()) {
    logger_.info("name found again", {{"cluster", cluster_}, {"name", config_.name}});
  }
  const Duration refresh = std::clamp(found.ttl, config_.min_refresh,
                                      std::max(config_.min_refresh, config_.max_refresh));
  if (found.addresses.empty()) {
    empty_answers_.add();
    if (++empty_in_a_row_ < kEmptyAnswers) {
      return config_.min_refresh;
    }
  } else {
    answers_.add();
    empty_in_a_row_ = 0;
  }
  const std::size_t before = replicas_.size();
  replicas_.set(found.addresses);
  addresses_.set(static_cast<double>(replicas_.size()));
  if (replicas_.size() != before) {
    logger_.info("addresses changed", {{"cluster", cluster_},
                                       {"name", config_.name},
                                       {"from", static_cast<std::int64_t>(before)},
                                       {"to", static_cast<std::int64_t>(replicas_.size())}});
  }
  return refresh;
}

Duration DnsProvider::failed(const std::string& why) {
  failures_.add();
  if (back_off_ == Duration::zero()) {
    logger_.warning("name not found out; the last answer holds",
                    {{"cluster", cluster_},
                     {"name", config_.name},
                     {"why", why},
                     {"addresses", static_cast<std::int64_t>(replicas_.size())}});
    back_off_ = kFirstBackOff;
  } else {
    back_off_ = std::min(back_off_ * 2, kLongestBackOff);
  }
  // Between half of it and all of it, so that many proxies do not ask in step.
  return back_off_ / 2 +
         Duration(std::uniform_int_distribution<Duration::rep>(0, back_off_.count() / 2)(jitter_));
}

}  // namespace penstock::proxy
