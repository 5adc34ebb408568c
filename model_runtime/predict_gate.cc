#include "model_runtime/predict_gate.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace penstock::runtime {

PredictGate::Permit::Permit(Permit&& other) noexcept
    : gate_(std::exchange(other.gate_, nullptr)), lane_(other.lane_), number_(other.number_) {}

PredictGate::Permit& PredictGate::Permit::operator=(Permit&& other) noexcept {
  if (this != &other) {
    Permit old(std::move(*this));
    gate_ = std::exchange(other.gate_, nullptr);
    lane_ = other.lane_;
    number_ = other.number_;
  }
  return *this;
}

PredictGate::Permit::~Permit() {
  if (gate_ == nullptr) {
    return;
  }
  PredictGate& gate = *gate_;
  if (std::optional<Grant> grant = gate.takeBack(lane_, gate.clock_.now())) {
    gate.handler_.onGrant(std::move(*grant));
  }
}

Duration PredictGate::Permit::begin() {
  PENSTOCK_CHECK(gate_ != nullptr, "an empty permit runs nothing");
  return begin(gate_->clock_.now());
}

Duration PredictGate::Permit::begin(TimePoint at) {
  PENSTOCK_CHECK(gate_ != nullptr, "an empty permit runs nothing");
  return gate_->begin(lane_, at);
}

PredictGate::PredictGate(const Clock& clock, Handler& handler, const Options& options)
    : clock_(clock),
      handler_(handler),
      max_waiting_(options.max_waiting),
      max_announced_(options.max_announced),
      integrated_until_(clock.now()) {
  PENSTOCK_CHECK(options.lanes >= 1, "a gate has at least one lane");
  lanes_.resize(options.lanes, Lane{.idle_since = integrated_until_, .ready_at = {}});
  for (std::size_t lane = options.lanes; lane > 0; --lane) {
    free_lanes_.push_back(lane - 1);
  }
}

PredictGate::~PredictGate() {
  PENSTOCK_CHECK(waiters_.empty() && announced_.empty() && bound_ == 0,
                 "the gate outlives its waiters");
  PENSTOCK_CHECK(free_lanes_.size() == lanes_.size(), "the gate outlives its permits");
}

PredictGate::Admission PredictGate::enter(Waiter& waiter, Deadline deadline) {
  const TimePoint now = clock_.now();
  if (deadline.passed(now)) {
    return Refusal::kDeadlinePassed;
  }
  std::lock_guard lock(mutex_);
  PENSTOCK_CHECK(waiter.queue_place_ == Place::kAbsent, "a request waits once");
  if (!free_lanes_.empty()) {
    const std::size_t lane = free_lanes_.back();
    free_lanes_.pop_back();
    return grantLane(lane, now);
  }
  if (announced_.size() + waiters_.size() + bound_ >= max_waiting_) {
    return Refusal::kFull;
  }
  waiter.queue_place_ = Place::kWaiting;
  waiter.ready_at_ = now;
  waiter.deadline_ = deadline;
  waiters_.pushBack(waiter);
  return Waiting{};
}

bool PredictGate::leave(Waiter& waiter) {
  std::lock_guard lock(mutex_);
  if (waiter.queue_place_ == Place::kAbsent || waiter.queue_place_ == Place::kBound) {
    return false;
  }
  remove(waiter);
  return true;
}

void PredictGate::remove(Waiter& waiter) {
  const Place place = std::exchange(waiter.queue_place_, Place::kAbsent);
  (place == Place::kAnnounced ? announced_ : waiters_).remove(waiter);
}

PredictGate::Waiter* PredictGate::announceNext(void (*mark)(Waiter&)) {
  std::lock_guard lock(mutex_);
  if (announced_.size() >= max_announced_ || waiters_.empty()) {
    return nullptr;
  }
  Waiter* next = waiters_.popFront();
  next->queue_place_ = Place::kAnnounced;
  announced_.pushBack(*next);
  if (mark != nullptr) {
    mark(*next);
  }
  return next;
}

PredictGate::Waiter* PredictGate::bindNext(std::size_t lane_index, std::uint64_t permit_number) {
  const TimePoint now = clock_.now();
  Expired expired;
  Waiter* next = nullptr;
  {
    std::lock_guard lock(mutex_);
    Lane& lane = lanes_[lane_index];
    if (!lane.granted || lane.permit_number != permit_number || lane.bound != nullptr) {
      return nullptr;
    }
    expire(now, expired);
    next = waiters_.popFront();
    if (next != nullptr) {
      next->queue_place_ = Place::kBound;
      lane.bound = next;
      ++bound_;
    }
  }
  tell(expired);
  return next;
}

std::optional<PredictGate::Grant> PredictGate::handOver(Permit permit) {
  return handOver(std::move(permit), clock_.now());
}

std::optional<PredictGate::Grant> PredictGate::handOver(Permit permit, TimePoint ended) {
  PENSTOCK_CHECK(permit.gate_ == this, "a permit comes back to the gate that gave it");
  permit.gate_ = nullptr;
  return takeBack(permit.lane_, ended);
}

PredictGate::Snapshot PredictGate::snapshot() const {
  const TimePoint now = clock_.now();
  std::lock_guard lock(mutex_);
  const Duration since = std::max(Duration::zero(), now - integrated_until_);
  return {.waiting = announced_.size() + waiters_.size() + bound_,
          .permits = lanes_.size() - free_lanes_.size(),
          .in_predict = in_predict_,
          .busy = busy_ + since * static_cast<Duration::rep>(in_predict_)};
}

Duration PredictGate::begin(std::size_t lane_index, TimePoint at) {
  std::lock_guard lock(mutex_);
  Lane& lane = lanes_[lane_index];
  PENSTOCK_CHECK(lane.granted && !lane.begun, "a permit begins once");
  integrate(at, 1);
  lane.begun = true;
  return std::max(Duration::zero(), at - std::max(lane.idle_since, lane.ready_at));
}

std::optional<PredictGate::Grant> PredictGate::takeBack(std::size_t lane_index, TimePoint ended) {
  const TimePoint now = clock_.now();
  Expired expired;
  std::optional<Grant> grant;
  {
    std::lock_guard lock(mutex_);
    Lane& lane = lanes_[lane_index];
    PENSTOCK_CHECK(lane.granted, "a permit comes back once");
    lane.granted = false;
    if (lane.begun) {
      integrate(ended, -1);
      lane.begun = false;
      lane.idle_since = ended;
    }
    if (Waiter* bound = std::exchange(lane.bound, nullptr)) {
      bound->queue_place_ = Place::kAbsent;
      --bound_;
      grant.emplace(Grant{bound, grantLane(lane_index, bound->ready_at_)});
    } else {
      if (announced_.empty()) {
        expire(now, expired);
      }
      if (Waiter* next = announced_.empty() ? waiters_.front() : announced_.front()) {
        remove(*next);
        grant.emplace(Grant{next, grantLane(lane_index, next->ready_at_)});
      } else {
        free_lanes_.push_back(lane_index);
      }
    }
  }
  tell(expired);
  return grant;
}

void PredictGate::expire(TimePoint now, Expired& expired) {
  while (Waiter* waiter = waiters_.front()) {
    if (!waiter->deadline_.passed(now)) {
      return;
    }
    remove(*waiter);
    expired.pushBack(*waiter);
  }
}

void PredictGate::tell(Expired& expired) {
  while (Waiter* waiter = expired.popFront()) {
    handler_.onExpired(*waiter);
  }
}

PredictGate::Permit PredictGate::grantLane(std::size_t lane, TimePoint ready_at) {
  PENSTOCK_CHECK(!lanes_[lane].granted, "a lane has one permit");
  lanes_[lane].granted = true;
  lanes_[lane].ready_at = ready_at;
  lanes_[lane].permit_number = ++last_permit_number_;
  return Permit(*this, lane, last_permit_number_);
}

// Threads read the clock before they take the lock, and ends are reported late, so at may lie
// before the last call's: then the one lane that begins or ends is made up for.
void PredictGate::integrate(TimePoint at, int change) {
  if (at > integrated_until_) {
    busy_ += (at - integrated_until_) * static_cast<Duration::rep>(in_predict_);
    integrated_until_ = at;
  } else {
    busy_ += (integrated_until_ - at) * change;
  }
  in_predict_ += static_cast<std::size_t>(change);
}

}  // namespace penstock::runtime
