#include "simulator/simulation.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <queue>
#include <tuple>
#include <utility>
#include <variant>

#include "proxy/cluster/admission_queue.h"
#include "simulator/virtual_clock.h"

namespace penstock::simulator {
namespace {

using proxy::AdmissionQueue;

class Run;

struct Request final : proxy::Ticket::Owner {
  Request(Run& its_run, proxy::Inbox& inbox, std::size_t its_index)
      : run(its_run), index(its_index), ticket(inbox, *this) {}
  void onGranted(proxy::Slot granted) override;
  // No request has a deadline here.
  void onExpired() override {}

  Run& run;
  const std::size_t index;
  proxy::Ticket ticket;
  proxy::Slot slot;
  TimePoint arrived{};
  Duration service{};
  bool of_user = false;
};

// In this order at the same moment: who is served makes room, a replica is there for who comes, and
// a policy sees all of it.
enum class What : std::uint8_t { kDone, kReady, kUsers, kArrival, kDecision, kMoment };

struct Event {
  TimePoint at;
  What what;
  std::uint64_t number;  // of events; first come first
  std::size_t index;     // of the request or the start

  bool operator>(const Event& other) const {
    return std::tie(at, what, number) > std::tie(other.at, other.what, other.number);
  }
};

struct Replica {
  bool draining = false;
  bool gone = false;
  std::uint32_t in_flight = 0;
};

class Run {
 public:
  Run(const Scenario& scenario, Policy& policy)
      : scenario_(scenario),
        policy_(policy),
        random_(scenario.seed),
        target_(scenario.settings.concurrency_target),
        end_(kStart + scenario.load.length),
        row_length_(std::max<Duration>(std::chrono::seconds(1), scenario.load.length / 20'000)),
        queue_(clock_, {.concurrency_target = target_,
                        .max_requests = std::numeric_limits<std::uint64_t>::max(),
                        .max_bytes = std::numeric_limits<std::uint64_t>::max()}),
        inbox_(queue_, [this] { woken_ = true; }) {}

  Outcome run(const std::function<void(double)>& progress) {
    for (std::uint32_t i = 0; i < scenario_.initial_replicas; ++i) {
      becomeReady();
    }
    note(fleet().size());
    schedule(kStart, What::kDecision);
    schedule(kStart + row_length_, What::kMoment);
    if (!scenario_.load.arrivals.empty()) {
      schedule(kStart + scenario_.load.arrivals.front().at, What::kArrival);
    }
    for (std::size_t i = 0; i < scenario_.load.users.size(); ++i) {
      schedule(kStart + scenario_.load.users[i].from, What::kUsers, i);
    }
    while (!over()) {
      const Event event = events_.top();
      events_.pop();
      passUntil(event.at);
      handle(event);
      settle();
      if (progress && ++steps_ % 65'536 == 0) {
        progress(std::min(1.0, inSeconds(event.at - kStart) / inSeconds(scenario_.load.length)));
      }
    }
    return std::move(outcome_);
  }

  void begin(Request& request, proxy::Slot slot) {
    Replica& replica = replicas_[slot.replica().id - 1];
    outcome_.most_on_one_replica = std::max(outcome_.most_on_one_replica, ++replica.in_flight);
    outcome_.waits_seconds.push_back(static_cast<float>(inSeconds(clock_.now() - request.arrived)));
    request.slot = std::move(slot);
    schedule(clock_.now() + request.service, What::kDone, request.index);
    ++in_flight_;
  }
  void granted(Request& request, proxy::Slot slot) {
    --waiting_;
    begin(request, std::move(slot));
  }

 private:
  bool over() const {
    return clock_.now() >= end_ && waiting_ == 0 && in_flight_ == 0 &&
           std::ssize(outcome_.timeline) >= scenario_.load.length / row_length_;
  }

  void schedule(TimePoint at, What what, std::size_t index = 0) {
    events_.push({.at = at, .what = what, .number = next_event_++, .index = index});
  }

  void passUntil(TimePoint time) {
    const TimePoint counted_until = std::min(time, end_);
    if (counted_until > clock_.now()) {
      const double dt = inSeconds(counted_until - clock_.now());
      const std::uint32_t replicas = fleet().size() + draining_;
      outcome_.replica_seconds += dt * replicas;
      outcome_.peak_replicas = std::max(outcome_.peak_replicas, replicas);
      outcome_.somebody_waited_seconds += waiting_ > 0 ? dt : 0;
      outcome_.idle_while_waiting_seconds += waiting_ > 0 && idle() ? dt : 0;
      demand_seconds_ += dt * static_cast<double>(waiting_ + in_flight_);
    }
    clock_.set(time);
  }

  // Whether a ready replica has a free slot, by this simulation's own count.
  bool idle() const {
    return in_flight_ - in_flight_draining_ < std::uint64_t{target_} * ready_.size();
  }

  void handle(const Event& event) {
    switch (event.what) {
      case What::kDone:
        return done(*requests_[event.index]);
      case What::kReady:
        return onStarted(event.index);
      case What::kUsers:
        users_wanted_ = scenario_.load.users[event.index].count;
        while (users_ < users_wanted_) {
          ++users_;
          arrive(scenario_.load.service.draw(random_), true);
        }
        return;
      case What::kArrival: {
        const auto& arrivals = scenario_.load.arrivals;
        arrive(arrivals[next_arrival_].service, false);
        if (++next_arrival_ < arrivals.size()) {
          schedule(kStart + arrivals[next_arrival_].at, What::kArrival);
        }
        return;
      }
      case What::kDecision:
        scaleTo(policy_.decide(sampleOf(queue_.snapshot()), fleet()));
        if (const TimePoint next = policy_.nextAfter(event.at); next != TimePoint::max()) {
          schedule(next, What::kDecision);
        }
        return;
      case What::kMoment:
        if (event.at <= end_) {
          addRow();
          schedule(event.at + row_length_, What::kMoment);
        }
        return;
    }
  }

  // What follows from an event in the same moment.
  void settle() {
    while (std::exchange(woken_, false)) {
      woken_ = inbox_.collect(64);
    }
    const bool more_now = !events_.empty() && events_.top().at == clock_.now() &&
                          events_.top().what <= What::kArrival;
    if (waiting_ > 0 && fleet().size() == 0 && !more_now) {
      scaleTo(policy_.wake(sampleOf(queue_.snapshot()), fleet()));
    }
  }

  void arrive(Duration service, bool of_user) {
    Request& request = freeRequest();
    request.arrived = clock_.now();
    request.service = service;
    request.of_user = of_user;
    ++outcome_.arrived;
    proxy::Admission admission = queue_.acquire(request.ticket, {});
    if (auto* slot = std::get_if<proxy::Slot>(&admission)) {
      begin(request, std::move(*slot));
    } else {
      ++waiting_;
    }
  }

  Request& freeRequest() {
    if (free_.empty()) {
      free_.push_back(requests_.size());
      requests_.push_back(std::make_unique<Request>(*this, inbox_, requests_.size()));
    }
    Request& request = *requests_[free_.back()];
    free_.pop_back();
    return request;
  }

  void done(Request& request) {
    const std::size_t index = request.slot.replica().id - 1;
    Replica& replica = replicas_[index];
    --in_flight_;
    --replica.in_flight;
    in_flight_draining_ -= replica.draining ? 1 : 0;
    if (replica.draining && replica.in_flight == 0) {
      replica.gone = true;
      --draining_;
    }
    request.slot.release();
    free_.push_back(request.index);
    if (request.of_user) {
      if (users_ > users_wanted_ || clock_.now() >= end_) {
        --users_;
      } else {
        arrive(scenario_.load.service.draw(random_), true);
      }
    }
  }

  proxy::Fleet fleet() const {
    return {.ready = static_cast<std::uint32_t>(ready_.size()),
            .starting = static_cast<std::uint32_t>(starting_.size()),
            .start_up = measured_start_up_};
  }

  void scaleTo(std::uint32_t replicas) {
    note(replicas);
    while (fleet().size() < replicas) {
      const std::size_t id = started_at_.size();
      starting_.push_back(id);
      const auto spread = (scenario_.start_up.longest - scenario_.start_up.shortest).count();
      const Duration more(std::uniform_int_distribution<Duration::rep>(0, spread)(random_));
      schedule(clock_.now() + scenario_.start_up.shortest + more, What::kReady, id);
      started_at_.push_back(clock_.now());
    }
    while (fleet().size() > replicas && !starting_.empty()) {
      starting_.pop_back();
    }
    while (ready_.size() > replicas) {
      drainLeastBusy();
    }
  }

  void drainLeastBusy() {
    const auto least =
        std::ranges::min_element(ready_, {}, [&](std::size_t i) { return replicas_[i].in_flight; });
    Replica& replica = replicas_[*least];
    replica.draining = replica.in_flight > 0;
    replica.gone = !replica.draining;
    draining_ += replica.draining ? 1 : 0;
    in_flight_draining_ += replica.in_flight;
    queue_.removeReplica(*least + 1);
    ready_.erase(least);
    ++outcome_.scale_downs;
  }

  void onStarted(std::size_t start) {
    // It may have been told to go before it was ready.
    if (std::erase(starting_, start) > 0) {
      measured_start_up_ = std::max(clock_.now() - started_at_[start], Duration(1));
      becomeReady();
    }
  }

  void becomeReady() {
    ready_.push_back(replicas_.size());
    replicas_.emplace_back();
    // An address of its own: what is still out of one that was there before would count against it.
    const auto port = static_cast<std::uint16_t>(replicas_.size() % 65'535 + 1);
    const proxy::ReplicaId id = queue_.addReplica(net::Address::loopback(port)).id;
    queue_.setAvailable(id, true);
  }

  void note(std::uint32_t replicas) {
    desired_ = replicas;
    auto& steps = outcome_.desired;
    if (steps.empty() || steps.back().value != replicas) {
      steps.push_back({.from = clock_.now() - kStart, .value = replicas});
    }
  }

  void addRow() {
    outcome_.timeline.push_back(
        {.at = clock_.now() - kStart,
         .demand = (demand_seconds_ - demand_seconds_of_rows_) / inSeconds(row_length_),
         .waiting = waiting_,
         .in_flight = in_flight_,
         .ready = fleet().ready,
         .starting = fleet().starting,
         .draining = draining_,
         .desired = desired_});
    demand_seconds_of_rows_ = demand_seconds_;
  }

  const Scenario& scenario_;
  Policy& policy_;
  std::mt19937_64 random_;
  const std::uint32_t target_;
  const TimePoint end_;
  const Duration row_length_;
  VirtualClock clock_;
  AdmissionQueue queue_;
  proxy::Inbox inbox_;
  bool woken_ = false;

  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::uint64_t next_event_ = 0;
  std::uint64_t steps_ = 0;
  std::vector<std::unique_ptr<Request>> requests_;
  std::vector<std::size_t> free_;
  std::size_t next_arrival_ = 0;
  std::uint32_t users_ = 0;
  std::uint32_t users_wanted_ = 0;
  std::uint64_t waiting_ = 0;
  std::uint64_t in_flight_ = 0;
  std::uint64_t in_flight_draining_ = 0;  // of these, on replicas that were told to go

  std::vector<Replica> replicas_;  // by id - 1, those that are gone included
  std::vector<std::size_t> ready_;
  std::vector<std::size_t> starting_;
  std::vector<TimePoint> started_at_;  // by the number of the start
  Duration measured_start_up_ = proxy::Fleet{}.start_up;
  std::uint32_t draining_ = 0;
  std::uint32_t desired_ = 0;

  double demand_seconds_ = 0;
  double demand_seconds_of_rows_ = 0;
  Outcome outcome_;
};

void Request::onGranted(proxy::Slot granted) {
  run.granted(*this, std::move(granted));
}

}  // namespace

Outcome simulate(const Scenario& scenario, Policy& policy,
                 const std::function<void(double)>& progress) {
  return Run(scenario, policy).run(progress);
}

}  // namespace penstock::simulator
