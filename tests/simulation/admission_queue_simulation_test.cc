// The invariants of the admission queue under random events: arrive, cancel, expire, complete, put
// back, replica added, lost, back at its old address, made available or not, target and bounds up
// and down, replicas that refuse, accept, leave and say true and false things of themselves,
// several workers that look into their inboxes late. Time is driven by hand; a failure prints its
// seed.

#include <algorithm>
#include <array>
#include <map>
#include <random>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proxy/cluster/admission_queue.h"
#include "tests/support/manual_clock.h"

namespace penstock::proxy {
namespace {

class Simulation;

struct Request final : Ticket::Owner {
  Request(Simulation& owner, std::size_t worker_index, Inbox& inbox)
      : simulation(owner), worker(worker_index), ticket(inbox, *this) {}
  void onGranted(Slot granted) override;
  void onExpired() override;

  Simulation& simulation;
  std::size_t worker;
  Slot slot;
  std::uint64_t sent = 0;  // when it got its slot, in slots handed out
  bool backing_off = false;
  bool over = false;
  Ticket ticket;
};

class Simulation {
 public:
  Simulation(std::uint64_t seed, std::size_t workers)
      : random_(seed),
        queue_(clock_,
               {.concurrency_target = 2, .max_requests = kMaxRequests, .max_bytes = kMaxBytes}) {
    for (std::size_t i = 0; i < workers; ++i) {
      woken_.push_back(false);
      inboxes_.push_back(std::make_unique<Inbox>(queue_, [this, i] { woken_[i] = true; }));
    }
    addReplica();
  }

  void run(std::size_t events) {
    for (std::size_t i = 0; i < events && !::testing::Test::HasFailure(); ++i) {
      const auto before = byReplica();
      const auto before_at = inFlightByPort();
      const std::uint32_t old_target = target_;
      event();
      const auto now_at = inFlightByPort();
      check(before, old_target, now_at);
      checkAddresses(before_at, now_at);
    }
    finish();
  }

  void delivered(Request& request, bool granted) {
    // NoOvertaking: only those whose turn it was when the grant was made.
    EXPECT_EQ(granted_.erase(request.ticket.place()), 1u) << "granted out of turn";
    granted ? ++grants_ : ++expiries_;
  }
  std::size_t grants() const { return grants_; }
  std::size_t expiries() const { return expiries_; }
  std::size_t put_backs() const { return put_backs_; }
  std::size_t refusals() const { return refusals_; }

  // Refusals while more waited than the bounds of that time allow.
  std::size_t beyond_bounds() const { return beyond_bounds_; }
  // Choices in which what replicas say of themselves made the difference.
  std::size_t swayed() const { return swayed_; }
  // Times that a replica was back while requests of the one before it were still running.
  std::size_t comebacks() const { return comebacks_; }
  std::size_t replica_refusals() const { return replica_refusals_; }
  // Slots that a replica was given to see whether it still refuses.
  std::size_t trials() const { return trials_; }
  std::uint64_t nextSent() { return ++sent_; }

 private:
  static constexpr std::uint64_t kMaxRequests = 40;
  static constexpr std::uint64_t kMaxBytes = 4000;
  static constexpr std::uint16_t kPorts = 6;  // 1 … 6
  using ByPort = std::array<std::uint32_t, kPorts + 1>;

  // What a replica may be given, as it follows from the events.
  enum class Offers { kAll, kOne, kNothing };
  struct Said {
    TimePoint gate_free_until = TimePoint::min();
    bool leaving = false;
    Offers offers = Offers::kAll;
    std::uint64_t refused_at = 0;  // in slots handed out
  };
  using ByReplica = std::map<ReplicaId, AdmissionQueue::ReplicaSnapshot>;

  std::uint64_t pick(std::uint64_t n) { return random_() % n; }

  void event() {
    // Busy and calm phases in turn, so that the queue is full at times and empty at others.
    const bool busy = (steps_++ / 500) % 2 == 0;
    switch (const std::uint64_t dice = pick(100); dice) {
      case 0:
        return addReplica();
      case 1:
        return removeReplica();
      case 2:
      case 3:
      case 4:
        return toggleReplica();
      case 5:
        return changeTarget();
      case 6:
      case 7:
      case 8:
      case 9:
        return withRandom(&Simulation::cancel);
      case 10:
      case 11:
      case 12:
      case 13:
      case 14:
        return withRandom(&Simulation::putBack);
      case 15:
      case 16:
      case 17:
        return withRandom(&Simulation::activate);
      case 18:
        return changeBounds();
      case 19:
      case 20:
      case 21:
        return report();
      case 22:
      case 23:
      case 24:
        return withRandom(&Simulation::refuse);
      case 25:
        return withRandom(&Simulation::accept);
      case 26:
      case 27:
      case 28:
        return offer();
      case 29:
        return leave();
      default:
        if (dice < 38)
          return advance();
        if (dice < 58)
          return collect(pick(inboxes_.size()));
        if (dice < (busy ? 85u : 65u))
          return arrive();
        return withRandom(&Simulation::complete);
    }
  }

  void arrive() {
    const std::size_t worker = pick(inboxes_.size());
    auto request = std::make_unique<Request>(*this, worker, *inboxes_[worker]);
    const bool anyone_waits = !eligible_.empty();
    const AdmissionQueue::Demand demand{
        .bytes = pick(300),
        .deadline = pick(3) == 0
                        ? Deadline::after(clock_.now(), std::chrono::milliseconds(pick(200)))
                        : Deadline::never()};
    const AdmissionQueue::Snapshot before = queue_.snapshot();
    const auto replicas = queue_.replicas();
    const auto loads = inFlightByPort();
    Admission admission = queue_.acquire(request->ticket, demand);
    checkBounds(admission, demand, before);
    if (auto* slot = std::get_if<Slot>(&admission)) {
      EXPECT_FALSE(anyone_waits) << "a newcomer overtook";
      checkChoice(slot->replica().id, replicas, loads);
      request->slot = std::move(*slot);
      request->sent = nextSent();
    } else if (std::holds_alternative<Waiting>(admission)) {
      eligible_.emplace(request->ticket.place(), request.get());
    } else {
      ++refusals_;
      return;
    }
    requests_.push_back(std::move(request));
  }

  // A newcomer is refused for a bound exactly if there is no room within it now, whatever it was
  // when the others came.
  void checkBounds(const Admission& admission, const AdmissionQueue::Demand& demand,
                   const AdmissionQueue::Snapshot& before) {
    if (std::holds_alternative<Slot>(admission)) {
      return;
    }
    const bool too_many = before.waiting >= max_requests_;
    // One without a body is never too large, whatever the others hold.
    const bool too_large = demand.bytes > 0 && before.waiting_bytes + demand.bytes > max_bytes_;
    if (const auto* refusal = std::get_if<Refusal>(&admission)) {
      EXPECT_EQ(*refusal, too_many ? Refusal::kQueueFull : Refusal::kQueueBytesFull);
      beyond_bounds_ += before.waiting > max_requests_ || before.waiting_bytes > max_bytes_ ? 1 : 0;
    }
    EXPECT_EQ(std::holds_alternative<Refusal>(admission), too_many || too_large);
  }

  // Of those with a free slot: the least loaded; among equals one whose gate is free.
  void checkChoice(ReplicaId id, const std::vector<AdmissionQueue::ReplicaSnapshot>& before,
                   const ByPort& loads) {
    const auto chosen = std::ranges::find(before, id, &AdmissionQueue::ReplicaSnapshot::id);
    ASSERT_NE(chosen, before.end());
    const auto loadOf = [&](const auto& replica) { return loads.at(replica.address.port()); };
    const Said of_chosen = said_[id];
    bool swayed = false;
    for (const AdmissionQueue::ReplicaSnapshot& other : before) {
      if (!other.available || offered(other, loadOf(other)) == 0) {
        continue;
      }
      const Said of_other = said_[other.id];
      EXPECT_LE(loadOf(*chosen), loadOf(other)) << "a replica with more in flight was chosen";
      if (loadOf(*chosen) == loadOf(other)) {
        const bool chosen_free = clock_.now() < of_chosen.gate_free_until;
        const bool other_free = clock_.now() < of_other.gate_free_until;
        EXPECT_GE(chosen_free, other_free) << "among equals a free gate was passed over";
        swayed = swayed || chosen_free != other_free;
      }
    }
    swayed_ += swayed ? 1 : 0;
  }

  void withRandom(void (Simulation::*action)(Request&)) {
    if (!requests_.empty()) {
      const std::size_t i = pick(requests_.size());
      (this->*action)(*requests_[i]);
      if (requests_[i]->over) {
        erase(i);
      }
    }
  }

  void erase(std::size_t i) {
    forget(*requests_[i]);
    requests_[i] = std::move(requests_.back());
    requests_.pop_back();
  }
  void forget(Request& request) {
    eligible_.erase(request.ticket.place());
    granted_.erase(request.ticket.place());
  }

  void cancel(Request& request) { request.over = true; }
  void complete(Request& request) {
    if (request.slot.valid()) {
      request.slot.release();
      request.over = true;
    }
  }
  void putBack(Request& request) {
    if (!request.slot.valid()) {
      return;
    }
    putBack(request, pick(2) == 0 ? RetryCause::kNotSent : RetryCause::kFailed);
  }
  void putBack(Request& request, RetryCause cause) {
    const std::uint64_t place = request.ticket.place();
    if (!queue_.putBack(std::move(request.slot), request.ticket, {.bytes = pick(300)}, cause)) {
      EXPECT_EQ(cause, RetryCause::kFailed) << "a request that was not run was given up";
      request.over = true;
      return;
    }
    ++put_backs_;
    EXPECT_EQ(request.ticket.place(), place) << "a request put back keeps its place";
    request.backing_off = cause == RetryCause::kNotSent;
    if (!request.backing_off) {
      eligible_.emplace(place, &request);
    }
  }
  // Most who are refused wait again; some have gone meanwhile.
  void refuse(Request& request) {
    if (!request.slot.valid()) {
      return;
    }
    Said& said = said_[request.slot.replica().id];
    const bool news = request.sent >= said.refused_at;
    const std::uint32_t in_a_row = request.slot.refused();
    EXPECT_EQ(in_a_row > 0, news);
    if (news) {
      said.refused_at = sent_ + 1;
      said.offers = Offers::kNothing;
      ++replica_refusals_;
    }
    if (pick(4) == 0) {
      complete(request);
    } else {
      putBack(request, RetryCause::kRefused);
    }
  }
  void accept(Request& request) {
    if (request.slot.valid()) {
      Said& said = said_[request.slot.replica().id];
      if (request.sent >= said.refused_at) {
        said.offers = Offers::kAll;
      }
      request.slot.accepted();
    }
  }
  void offer() {
    const ReplicaId id = replicas_[pick(replicas_.size())];
    Offers& offers = said_[id].offers;
    if (pick(3) == 0) {
      offers = Offers::kAll;
      queue_.reopen(id);
    } else {
      offers = offers == Offers::kNothing ? Offers::kOne : offers;
      queue_.offerOne(id);
    }
  }
  void leave() {
    const ReplicaId id = replicas_[pick(replicas_.size())];
    said_[id].leaving = pick(2) == 0;
    queue_.setLeaving(id, said_[id].leaving);
  }
  void activate(Request& request) {
    if (request.backing_off) {
      request.backing_off = false;
      eligible_.emplace(request.ticket.place(), &request);
      request.ticket.activate();
    }
  }

  void advance() { clock_.advance(std::chrono::milliseconds(pick(20))); }
  void collect(std::size_t worker) {
    woken_[worker] = inboxes_[worker]->collect(1 + pick(4));
    for (std::size_t i = requests_.size(); i-- > 0;) {
      if (requests_[i]->over) {
        erase(i);
      }
    }
  }

  void addReplica() {
    // Few addresses, so that one is often taken again while slots of its last owner are out.
    const auto port = static_cast<std::uint16_t>(1 + pick(kPorts));
    const auto known = queue_.replicas();
    const auto isAt = [&](const auto& replica) { return replica.address.port() == port; };
    if (std::ranges::none_of(known, [&](const auto& r) { return !r.removed && isAt(r); })) {
      comebacks_ += std::ranges::any_of(known, isAt) ? 1 : 0;
      replicas_.push_back(queue_.addReplica(net::Address::loopback(port)).id);
      queue_.setAvailable(replicas_.back(), true);
    }
  }
  void removeReplica() {
    if (replicas_.size() > 1) {
      const std::size_t i = pick(replicas_.size());
      const ReplicaId id = replicas_[i];
      queue_.removeReplica(id);
      // A late event of the old incarnation.
      queue_.setAvailable(id, true);
      replicas_.erase(replicas_.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
  void toggleReplica() { queue_.setAvailable(replicas_[pick(replicas_.size())], pick(4) != 0); }
  // Fresh, stale at once, forever, true or not: nobody has asked the replica.
  void report() {
    const ReplicaId id = replicas_[pick(replicas_.size())];
    const TimePoint until = pick(8) == 0 ? TimePoint::max()
                                         : clock_.now() + std::chrono::milliseconds(pick(400)) -
                                               std::chrono::milliseconds(pick(200));
    TimePoint& gate_free_until = said_[id].gate_free_until;
    gate_free_until = pick(3) == 0 ? TimePoint::min() : until;
    queue_.setGateFreeUntil(id, gate_free_until);
  }
  void changeTarget() {
    target_ = 1 + static_cast<std::uint32_t>(pick(5));
    queue_.setTarget(target_);
  }

  // Often to less than what waits; now and then back to where there is room.
  void changeBounds() {
    const AdmissionQueue::Snapshot before = queue_.snapshot();
    const bool wide = pick(2) == 0;
    max_requests_ = wide ? kMaxRequests : pick(kMaxRequests);
    max_bytes_ = wide ? kMaxBytes : pick(kMaxBytes);
    queue_.setBounds(max_requests_, max_bytes_);
    const AdmissionQueue::Snapshot after = queue_.snapshot();
    EXPECT_EQ(after.waiting, before.waiting) << "a bound dropped who waits";
    EXPECT_EQ(after.done, before.done);
  }

  ByReplica byReplica() const {
    ByReplica result;
    for (const auto& replica : queue_.replicas()) {
      result.emplace(replica.id, replica);
    }
    return result;
  }

  // How many slots an available replica offers, with so many out at its address.
  std::uint64_t offered(const AdmissionQueue::ReplicaSnapshot& replica, std::uint32_t load) {
    const Said& said = said_[replica.id];
    const bool another_stays =
        std::ranges::any_of(replicas_, [&](ReplicaId id) { return !said_[id].leaving; });
    if (load >= target_ || said.offers == Offers::kNothing || (said.leaving && another_stays)) {
      return 0;
    }
    return said.offers == Offers::kOne ? 1 : target_ - load;
  }

  // RefusalIsNotAFreeSlot: after a refusal nothing, or the one slot that was offered since.
  void checkOffers(const AdmissionQueue::ReplicaSnapshot& replica, std::uint64_t granted) {
    Said& said = said_[replica.id];
    if (said.offers == Offers::kNothing) {
      EXPECT_EQ(granted, 0u) << "a replica that refused got another request";
    } else if (said.offers == Offers::kOne) {
      EXPECT_LE(granted, 1u) << "more than one tried";
      said.offers = granted == 0 ? said.offers : Offers::kNothing;
      trials_ += granted;
    }
    EXPECT_EQ(replica.refusing, said.offers != Offers::kAll);
  }

  ByPort inFlightByPort() const {
    ByPort result{};
    for (const auto& replica : queue_.replicas()) {
      result[replica.address.port()] += replica.in_flight;
    }
    return result;
  }

  // NeverMoreThanTarget, as the replica sees it: whichever incarnation the slots were taken of.
  void checkAddresses(const ByPort& before, const ByPort& now) const {
    for (std::size_t port = 1; port <= kPorts; ++port) {
      EXPECT_LE(now[port], std::max(target_, before[port])) << "at port " << port;
    }
  }

  void check(const ByReplica& before, std::uint32_t old_target, const ByPort& at_port) {
    const AdmissionQueue::Snapshot s = queue_.snapshot();
    // Whoever left the queue in this event left from its head.
    while (eligible_.size() > s.waiting - s.backing_off) {
      granted_.insert(*eligible_.begin());
      eligible_.erase(eligible_.begin());
    }
    std::uint64_t free = 0;
    std::uint64_t in_flight = 0;
    for (const auto& replica : queue_.replicas()) {
      in_flight += replica.in_flight;
      const auto it = before.find(replica.id);
      const std::uint32_t had = it == before.end() ? 0 : it->second.in_flight;
      checkOffers(replica, replica.granted - (it == before.end() ? 0 : it->second.granted));
      // NeverMoreThanTarget: above it only what was there before the target fell.
      EXPECT_LE(replica.in_flight, std::max(target_, std::min(had, std::max(had, old_target))));
      if (replica.in_flight > target_) {
        EXPECT_LE(replica.in_flight, had);
      }
      const std::uint32_t at_address = at_port[replica.address.port()];
      if (!replica.available) {
        EXPECT_LE(replica.in_flight, had) << "a replica that is not available got a request";
      } else {
        free += offered(replica, at_address);
      }
    }
    std::uint64_t held = 0;
    for (const auto& request : requests_) {
      held += request->slot.valid() ? 1 : 0;
    }
    EXPECT_EQ(s.free_slots, free);
    EXPECT_EQ(s.in_flight, in_flight);
    EXPECT_EQ(s.in_flight, held + s.undelivered);
    // OneOutcome.
    EXPECT_EQ(s.accepted, s.waiting + s.in_flight + s.done);
    // WorkConserving.
    EXPECT_TRUE(s.waiting == s.backing_off || s.free_slots == 0);
    EXPECT_EQ(s.waiting - s.backing_off, eligible_.size());
    EXPECT_LE(s.waiting, kMaxRequests + requests_.size());
    // NoLostWakeUp: who was granted something works for a worker that has been woken.
    for (const auto& [place, request] : granted_) {
      EXPECT_TRUE(woken_[request->worker]) << "a grant nobody was told of";
    }
  }

  void finish() {
    while (!requests_.empty()) {
      erase(requests_.size() - 1);
    }
    const AdmissionQueue::Snapshot s = queue_.snapshot();
    // AccountsReturnToZero.
    EXPECT_EQ(s.waiting, 0u);
    EXPECT_EQ(s.in_flight, 0u);
    EXPECT_EQ(s.undelivered, 0u);
    EXPECT_EQ(s.waiting_bytes, 0u);
    EXPECT_EQ(s.accepted, s.done);
  }

  std::mt19937_64 random_;
  ManualClock clock_;
  AdmissionQueue queue_;
  std::uint32_t target_ = 2;
  std::uint64_t max_requests_ = kMaxRequests;
  std::uint64_t max_bytes_ = kMaxBytes;
  std::vector<bool> woken_;
  std::vector<std::unique_ptr<Inbox>> inboxes_;
  std::vector<ReplicaId> replicas_;
  std::map<ReplicaId, Said> said_;
  std::map<std::uint64_t, Request*> eligible_;
  std::map<std::uint64_t, Request*> granted_;
  std::vector<std::unique_ptr<Request>> requests_;
  std::size_t steps_ = 0;
  std::size_t grants_ = 0;
  std::size_t expiries_ = 0;
  std::size_t put_backs_ = 0;
  std::size_t refusals_ = 0;
  std::size_t beyond_bounds_ = 0;
  std::size_t swayed_ = 0;
  std::size_t comebacks_ = 0;
  std::size_t replica_refusals_ = 0;
  std::size_t trials_ = 0;
  std::uint64_t sent_ = 0;
};

void Request::onGranted(Slot granted) {
  simulation.delivered(*this, true);
  slot = std::move(granted);
  sent = simulation.nextSent();
}
void Request::onExpired() {
  simulation.delivered(*this, false);
  over = true;
}

TEST(AdmissionQueueSimulation, KeepsEveryInvariantThroughAMillionEvents) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Simulation simulation(seed, 1 + seed % 4);
    simulation.run(52'000);
    // Each kind of event did happen.
    EXPECT_GT(simulation.grants(), 1000u);
    EXPECT_GT(simulation.expiries(), 10u);
    EXPECT_GT(simulation.put_backs(), 100u);
    EXPECT_GT(simulation.refusals(), 10u);
    EXPECT_GT(simulation.beyond_bounds(), 10u);
    EXPECT_GT(simulation.swayed(), 30u);
    EXPECT_GT(simulation.comebacks(), 10u);
    EXPECT_GT(simulation.replica_refusals(), 100u);
    EXPECT_GT(simulation.trials(), 100u);
    if (HasFailure()) {
      return;
    }
  }
}

TEST(AdmissionQueueSimulation, KeepsEveryInvariantWithASeedOfTheDay) {
  const std::uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Simulation(seed, 3).run(50'000);
}

}  // namespace
}  // namespace penstock::proxy
