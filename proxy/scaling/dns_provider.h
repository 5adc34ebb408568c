#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

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
// A question (A, AAAA, a target of SRV records) that nobody can answer keeps its last good answer;
// if nobody can say anything, everything holds, and it asks again after 1, 2, 4 … 30 s. That there
// is nothing behind the name is believed when it was said three times in a row, min_refresh apart
// or more, and nothing else in between: a fleet that was scaled to zero goes, and one answer in the
// middle of a change does not empty it. Loop thread only.
class DnsProvider final : public ReplicaProvider {
 public:
  static constexpr int kEmptyAnswers = 3;

  // cluster.replicas holds DnsReplicas. Everything referred to outlives this.
  DnsProvider(net::EventLoop& loop, const ClusterConfig& cluster,
              std::unique_ptr<net::AddressLookup> lookup, ReplicaHealth& health, Metrics& metrics,
              Logger& logger);

  void start() override;
  void stop(std::move_only_function<void()> stopped) override;
  // Addresses that can be no replica's, and that there are more than are used.
  std::string trouble() const override { return trouble_; }

 private:
  void lookUp();
  using Answers = std::map<std::string, std::vector<net::Address>>;  // by question

  // These return how long it is until the next lookup.
  Duration take(net::FoundAddresses found);
  Duration takeEmpty();
  Duration failed(const std::string& why);
  void notePart(const std::string& why);
  void noteTrouble(const net::FoundAddresses& found);
  void putInEffect(Answers answers);

  net::EventLoop& loop_;
  const std::string cluster_;
  const DnsReplicas config_;
  Logger& logger_;
  ReplicaSet replicas_;
  Answers last_good_;
  std::string trouble_;
  Counter answers_;
  Counter partial_answers_;
  Counter empty_answers_;
  Counter failures_;
  Gauge addresses_;
  int empty_in_a_row_ = 0;
  Duration back_off_{};   // zero: the last lookup did not fail
  bool partial_ = false;  // the last answer was
  std::minstd_rand jitter_;
  net::Timer refresh_;
  std::unique_ptr<net::AddressLookup> lookup_;
};

}  // namespace penstock::proxy
