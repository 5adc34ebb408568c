#include "proxy/cluster/replica_health.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/load_report/load_report_header.h"
#include "proxy/cluster/reachability_probe.h"

namespace penstock::proxy {
namespace {

// An ejection lasts at most so many base times.
constexpr std::uint32_t kMaxEjectionFactor = 10;
constexpr Duration kFirstRefusalPause = std::chrono::milliseconds(10);
constexpr Duration kLongestRefusalPause = std::chrono::seconds(1);

Duration pauseAfter(std::uint32_t refusals_in_a_row) {
  const std::uint32_t doublings = std::min(refusals_in_a_row - 1, 10u);
  return std::min(kFirstRefusalPause * (1u << doublings), kLongestRefusalPause);
}

http::UpstreamProtocol wireProtocol(UpstreamProtocol protocol) {
  switch (protocol) {
    case UpstreamProtocol::kHttp2:
      return http::UpstreamProtocol::kHttp2;
    case UpstreamProtocol::kHttp1:
      return http::UpstreamProtocol::kHttp1;
    case UpstreamProtocol::kAuto:
      break;
  }
  return http::UpstreamProtocol::kAuto;
}

std::string authorityOf(const ClusterConfig& config) {
  return config.tls.has_value() ? config.tls->server_name : std::string();
}

}  // namespace

std::string_view toString(ReplicaState state) {
  switch (state) {
    case ReplicaState::kStarting:
      return "starting";
    case ReplicaState::kReady:
      return "ready";
    case ReplicaState::kUnhealthy:
      return "unhealthy";
    case ReplicaState::kEjected:
      return "ejected";
    case ReplicaState::kDraining:
      return "draining";
  }
  return "draining";
}

struct ReplicaHealth::Entry {
  Entry(ReplicaHealth& owner, Replica& the_replica)
      : replica(the_replica),
        ejection_end(owner.loop_, [this, &owner] { owner.readmit(*this); }),
        next_offer(owner.loop_, [this, &owner] { owner.offerOne(*this); }) {}

  ReplicaState judged() const {
    if (draining) {
      return ReplicaState::kDraining;
    }
    if (!healthy.has_value()) {
      return ReplicaState::kStarting;
    }
    if (!*healthy || unreachable.has_value()) {
      return ReplicaState::kUnhealthy;
    }
    return ejected_until.has_value() ? ReplicaState::kEjected : ReplicaState::kReady;
  }

  Replica& replica;
  ReplicaState state = ReplicaState::kStarting;
  std::optional<bool> healthy;
  bool draining = false;
  std::optional<TimePoint> ejected_until;
  std::uint32_t ejections = 0;  // in a row
  Duration last_ejection{};
  TimePoint readmitted_at{};
  net::Timer ejection_end;
  // While it refuses requests.
  net::Timer next_offer;
  Duration offer_pause{};
  TimePoint refused_at{};
  std::optional<HealthChecker> checker;
  std::string last_error;
  std::optional<ReachabilityProbe> unreachable;  // while it cannot be connected to
  std::move_only_function<void()> on_ready;
  std::function<bool()> is_it;
};

ReplicaHealth::ReplicaHealth(net::EventLoop& loop, Cluster& cluster, const net::TlsContext* tls,
                             Logger& logger)
    : loop_(loop),
      cluster_(cluster),
      tls_(tls),
      logger_(logger),
      reports_(loop, cluster,
               {.protocol = wireProtocol(cluster.config().protocol),
                .tls = tls,
                .authority = authorityOf(cluster.config())},
               logger) {
  cluster.setFailureListener([this](ReplicaId id) { loop_.post([this, id] { onFailing(id); }); });
  cluster.setUnreachableListener([this](ReplicaId id, std::string why) {
    loop_.post([this, id, why = std::move(why)] { onUnreachable(id, why); });
  });
  cluster.setRefusalListener([this](ReplicaId id, std::uint32_t in_a_row) {
    loop_.post([this, id, in_a_row] { onRefusal(id, in_a_row); });
  });
  cluster.setSidecarListener([this](ReplicaId id) { loop_.post([this, id] { onSidecar(id); }); });
  cluster.setReportListener([this](ReplicaId id, std::string report) {
    loop_.post([this, id, report = std::move(report)] {
      reports_.takeInBand(id, parseLoadReportHeader(report));
    });
  });
}

ReplicaHealth::~ReplicaHealth() = default;

ReplicaHealth::Entry& ReplicaHealth::insert(const net::Address& address) {
  Replica& replica = cluster_.queue().addReplica(address);
  return *entries_.emplace_back(std::make_unique<Entry>(*this, replica));
}

ReplicaHealth::Entry* ReplicaHealth::find(ReplicaId id) const {
  const auto it =
      std::ranges::find_if(entries_, [&](const auto& entry) { return entry->replica.id == id; });
  return it == entries_.end() ? nullptr : it->get();
}

ReplicaId ReplicaHealth::add(const net::Address& address) {
  Entry& entry = insert(address);
  if (cluster_.config().health_check.has_value()) {
    startChecks(entry, *cluster_.config().health_check, false);
  } else {
    entry.healthy = true;
    update(entry, {});
  }
  return entry.replica.id;
}

ReplicaId ReplicaHealth::addStarting(const net::Address& address,
                                     std::move_only_function<void()> on_ready,
                                     std::function<bool()> is_it) {
  Entry& entry = insert(address);
  entry.on_ready = std::move(on_ready);
  entry.is_it = std::move(is_it);
  startChecks(entry, cluster_.config().health_check.value_or(HealthCheckConfig{}), true);
  return entry.replica.id;
}

HealthChecker::Settings ReplicaHealth::checkSettings(const HealthCheckConfig& check,
                                                     bool starting) const {
  const ClusterConfig& config = cluster_.config();
  return {
      .probe = {.protocol = wireProtocol(config.protocol),
                .tls = tls_,
                .path = check.path,
                .grpc_service = check.grpc,
                .authority = authorityOf(config),
                .timeout = check.timeout},
      .interval = check.interval,
      .unhealthy_threshold = check.unhealthy_threshold,
      .healthy_threshold = check.healthy_threshold,
      .starting = starting,
  };
}

void ReplicaHealth::startChecks(Entry& entry, const HealthCheckConfig& check, bool starting) {
  HealthChecker::Settings settings = checkSettings(check, starting);
  settings.is_it = entry.is_it;
  entry.checker.emplace(
      loop_, entry.replica.address, settings,
      [this, &entry](bool healthy, std::string_view why) { onVerdict(entry, healthy, why); },
      [this, &entry](TimePoint asked_at) { onPassed(entry, asked_at); },
      [this, &entry] { cluster_.replicaIsSidecar(entry.replica); });
}

void ReplicaHealth::drain(ReplicaId id) {
  if (Entry* entry = find(id)) {
    entry->draining = true;
    entry->on_ready = nullptr;
    update(*entry, {});
  }
}

void ReplicaHealth::resume(ReplicaId id) {
  if (Entry* entry = find(id)) {
    entry->draining = false;
    update(*entry, {});
  }
}

void ReplicaHealth::remove(ReplicaId id) {
  reports_.remove(id);
  const Entry* const entry = find(id);
  const std::string address = entry == nullptr ? std::string() : entry->replica.name;
  if (std::erase_if(entries_, [&](const auto& one) { return one->replica.id == id; }) > 0) {
    cluster_.queue().removeReplica(id);
    updateThoseAt(address);
    readmitIfNoneIsAvailable();
  }
}

void ReplicaHealth::onVerdict(Entry& entry, bool healthy, std::string_view why) {
  entry.healthy = healthy;
  if (!healthy) {
    entry.last_error = why;
  }
  // Failures while it was known to be unwell say nothing about it now.
  entry.replica.consecutive_failures.store(0, std::memory_order_relaxed);
  update(entry, why);
  if (auto on_ready = healthy ? std::exchange(entry.on_ready, nullptr) : nullptr) {
    on_ready();
  }
}

void ReplicaHealth::onFailing(ReplicaId id) {
  Entry* entry = find(id);
  if (entry == nullptr) {
    return;
  }
  // From here on failures are counted anew: if it is not ejected now, it may be later.
  entry->replica.consecutive_failures.store(0, std::memory_order_relaxed);
  const bool another = std::ranges::any_of(entries_, [&](const auto& other) {
    return other.get() != entry && other->state == ReplicaState::kReady;
  });
  if (entry->state == ReplicaState::kReady && another) {
    eject(*entry);
  }
}

void ReplicaHealth::onUnreachable(ReplicaId id, std::string why) {
  Entry* entry = find(id);
  if (entry == nullptr || entry->unreachable.has_value()) {
    return;
  }
  entry->last_error = std::move(why);
  entry->unreachable.emplace(loop_, entry->replica.address, tls_, cluster_.config().connect_timeout,
                             [this, entry] {
                               entry->unreachable.reset();
                               entry->replica.unreachable.store(false);
                               // A new process, which has refused nothing.
                               cluster_.queue().reopen(entry->replica.id);
                               update(*entry, "can be connected to");
                             });
  update(*entry, "cannot be connected to: " + entry->last_error);
}

void ReplicaHealth::onRefusal(ReplicaId id, std::uint32_t in_a_row) {
  if (Entry* entry = find(id)) {
    if (in_a_row == 1) {
      logger_.info("a replica refuses requests",
                   {{"cluster", cluster_.name()}, {"address", entry->replica.name}});
    }
    entry->refused_at = loop_.now();
    entry->offer_pause = pauseAfter(in_a_row);
    entry->next_offer.armAfter(entry->offer_pause);
  }
}

// Again after a pause of the same length: a replica that takes the request may answer late.
void ReplicaHealth::offerOne(Entry& entry) {
  if (entry.replica.refusing.load(std::memory_order_relaxed)) {
    cluster_.queue().offerOne(entry.replica.id);
    entry.next_offer.armAfter(entry.offer_pause);
  }
}

void ReplicaHealth::onPassed(Entry& entry, TimePoint asked_at) {
  if (entry.replica.refusing.load(std::memory_order_relaxed) && asked_at > entry.refused_at) {
    cluster_.queue().reopen(entry.replica.id);
  }
}

void ReplicaHealth::onSidecar(ReplicaId id) {
  if (Entry* entry = find(id)) {
    reports_.add(entry->replica, cluster_.config().protocol != UpstreamProtocol::kHttp1);
  }
}

void ReplicaHealth::eject(Entry& entry) {
  // In a row: it did not hold out for as long as it had been ejected before.
  const bool in_a_row =
      entry.ejections > 0 && loop_.now() - entry.readmitted_at < entry.last_ejection;
  entry.ejections = in_a_row ? std::min(entry.ejections + 1, kMaxEjectionFactor) : 1;
  entry.last_ejection = cluster_.config().ejection.base_time * entry.ejections;
  entry.ejected_until = loop_.now() + entry.last_ejection;
  entry.ejection_end.arm(*entry.ejected_until);
  update(entry, "too many failures in a row");
}

void ReplicaHealth::readmit(Entry& entry) {
  entry.ejected_until.reset();
  entry.ejection_end.disarm();
  entry.readmitted_at = loop_.now();
  entry.replica.consecutive_failures.store(0, std::memory_order_relaxed);
  update(entry, {});
}

// Two at one address would be one process with twice its target.
ReplicaState ReplicaHealth::allowed(const Entry& entry) const {
  const ReplicaState judged = entry.judged();
  const bool occupied = std::ranges::any_of(entries_, [&](const auto& other) {
    return other.get() != &entry && other->state == ReplicaState::kReady &&
           other->replica.name == entry.replica.name;
  });
  if (judged != ReplicaState::kReady || !occupied) {
    return judged;
  }
  logger_.warning("replica not used: another one has its address",
                  {{"cluster", cluster_.name()},
                   {"address", entry.replica.name},
                   {"incarnation", static_cast<std::int64_t>(entry.replica.id)}});
  return ReplicaState::kStarting;
}

void ReplicaHealth::updateThoseAt(const std::string& address) {
  for (const auto& entry : entries_) {
    if (entry->replica.name == address && entry->state == ReplicaState::kStarting) {
      update(*entry, {});
    }
  }
}

void ReplicaHealth::update(Entry& entry, std::string_view why) {
  const ReplicaState before = std::exchange(entry.state, allowed(entry));
  if (entry.state == before) {
    return;
  }
  const std::string address = entry.replica.address.toString();
  const auto incarnation = static_cast<std::int64_t>(entry.replica.id);
  const auto log = [&](LogLevel level, std::string_view message) {
    if (why.empty()) {
      logger_.log(
          level, message,
          {{"cluster", cluster_.name()}, {"address", address}, {"incarnation", incarnation}});
    } else {
      logger_.log(level, message,
                  {{"cluster", cluster_.name()},
                   {"address", address},
                   {"incarnation", incarnation},
                   {"why", why}});
    }
  };
  const bool trouble =
      entry.state == ReplicaState::kUnhealthy || entry.state == ReplicaState::kEjected;
  log(trouble ? LogLevel::kWarning : LogLevel::kInfo,
      std::string("replica ").append(toString(entry.state)));
  cluster_.queue().setAvailable(entry.replica.id, entry.state == ReplicaState::kReady);
  if (before == ReplicaState::kReady) {
    updateThoseAt(address);
    readmitIfNoneIsAvailable();
  }
}

void ReplicaHealth::readmitIfNoneIsAvailable() {
  Entry* longest = nullptr;
  for (const auto& entry : entries_) {
    if (entry->state == ReplicaState::kReady) {
      return;
    }
    if (entry->state == ReplicaState::kEjected &&
        (longest == nullptr || entry->ejected_until < longest->ejected_until)) {
      longest = entry.get();
    }
  }
  if (longest != nullptr) {
    readmit(*longest);
  }
}

bool ReplicaHealth::isReady(ReplicaId id) const {
  const Entry* entry = find(id);
  return entry != nullptr && entry->state == ReplicaState::kReady;
}

std::uint32_t ReplicaHealth::inFlight(ReplicaId id) const {
  return cluster_.queue().inFlight(id);
}

std::vector<ReplicaStatus> ReplicaHealth::replicas() const {
  std::vector<ReplicaStatus> result;
  for (const AdmissionQueue::ReplicaSnapshot& replica : cluster_.queue().replicas()) {
    const Entry* entry = find(replica.id);
    result.push_back({
        .address = replica.address,
        .state = entry == nullptr ? ReplicaState::kDraining : entry->state,
        .incarnation = replica.id,
        .refusing = replica.refusing,
        .in_flight = replica.in_flight,
        .requests = replica.requests,
        .succeeded = replica.succeeded,
        .failed = replica.failed,
        .load = reports_.status(replica.id),
        .last_error = entry == nullptr ? std::string() : entry->last_error,
    });
  }
  return result;
}

}  // namespace penstock::proxy
