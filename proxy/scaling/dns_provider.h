#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>

#include "base/log.h"
#include "base/metrics.h"
#include "net/dns/address_lookup.h"
#include "net/event_loop.h"
#include "proxy/config/config.h"
#include "proxy/scaling/replica_provider.h"
#include "proxy/scaling/replica_set.h"

namespace penstock::proxy {

// Replicas that somebody else runs, at the addresses behind a name, such as a headless Service of
// Kubernetes. Asks again when an answer's time to live is over, within min_refresh and max_refresh.
// When nobody can say, the last good answer holds, and it asks again after 1, 2, 4 … 30 s. That
// there is nothing behind the name is believed when it was said three times in a row: a fleet that
// was scaled to zero goes, and one answer in the middle of a change does not empty it.
// Loop thread only.
class DnsProvider final : public ReplicaProvider {
 public:
  static constexpr int kEmptyAnswers = 3;

  // cluster.replicas holds DnsReplicas. Everything referred to outlives this.
  DnsProvider(net::EventLoop& loop, const ClusterConfig& cluster,
              std::unique_ptr<net::AddressLookup> lookup, ReplicaHealth& health, Metrics& metrics,
              Logger& logger);

  void start() override;
  void stop(std::move_only_function<void()> stopped) override;

 private:
  void lookUp();
  // Returns how long the answer holds.
  Duration take(const net::FoundAddresses& found);
  Duration failed(const std::string& why);

  net::EventLoop& loop_;
  const std::string cluster_;
  const DnsReplicas config_;
  Logger& logger_;
  ReplicaSet replicas_;
  Counter answers_;
  Counter empty_answers_;
  Counter failures_;
  Gauge addresses_;
  int empty_in_a_row_ = 0;
  Duration back_off_{};  // zero: the last lookup did not fail
  std::minstd_rand jitter_;
  net::Timer refresh_;
  std::unique_ptr<net::AddressLookup> lookup_;
};

}  // namespace penstock::proxy
