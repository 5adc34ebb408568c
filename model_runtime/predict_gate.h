#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/deadline.h"
#include "model_runtime/intrusive_list.h"

namespace penstock::runtime {

// Lets at most `lanes` requests into predict, in the order in which they became ready (arrived
// here).
//
// Promises: a permit is out for each lane at most once (NeverMoreThanLanes); nobody waits while a
// lane is free (WorkConserving), so a newcomer never passes a waiter; a lane that comes back with
// somebody waiting is handed on, whichever way it comes back (NoLostWakeUp); a waiter whose
// deadline has passed is never granted; each waiter is granted, expired or gone, once.
//
// Where predict runs elsewhere (another process, a device's queue), asking for each grant would
// leave the lane idle for a round trip. With max_announced the gate names, in order, the waiters
// that are next (announceNext()), and the lanes' owner may begin them as lanes come free, and
// report both ends afterwards with their times. An announced waiter keeps its place, and may still
// leave; whether its deadline has passed is then for the lanes' owner to look at, before it begins.
// So is what can be done for a request before it has a lane, such as bringing its input to the
// device: those that are next in line are known.
//
// Where predict runs on a device that takes work for one lane in order, the next request's work can
// be enqueued behind what runs there (bindNext()). From then on it is bound to that lane: it is
// granted that lane next, and can neither leave nor expire, since nobody can take its work out
// again. What was said of waiters above is then said of those not bound; a gate with one lane stays
// in order.
//
// Thread-safe. Never blocks, starts no threads and calls the handler outside its lock: who runs on
// a lane, and what wakes it, is the runtime's affair, and a simulation can drive it without
// threads. The gate outlives its permits and waiters.
class PredictGate {
 public:
  // A place in the gate's queue; what waits derives from it. Outlives its waiting: it is granted,
  // expired or has left before it is destroyed.
  //   absent → waiting       enter()
  //   waiting → announced    announceNext()
  //   waiting → bound        bindNext()
  //   all → absent           it is granted its lane
  //   waiting, announced → absent   leave(); waiting also by expiring
  class Waiter : private ListLink {
   protected:
    ~Waiter() = default;

   private:
    friend class PredictGate;
    friend class IntrusiveList<Waiter>;
    enum class Place : std::uint8_t { kAbsent, kWaiting, kAnnounced, kBound };
    Place queue_place_ = Place::kAbsent;  // guarded by the gate's lock, like the rest
    TimePoint ready_at_{};
    Deadline deadline_ = Deadline::never();
  };

  // The right to run predict, and the lock on the lane it names. Destroying it gives the lane back.
  // Movable; an empty (moved-from) one does nothing.
  class Permit {
   public:
    Permit(Permit&& other) noexcept;
    Permit& operator=(Permit&& other) noexcept;
    ~Permit();

    std::size_t lane() const { return lane_; }
    // No other permit of the gate's has it.
    std::uint64_t number() const { return number_; }
    // Predict begins now: the lane counts as busy until the permit comes back. Called at most once.
    // Returns how long the lane stood idle with this request ready: from the end of the lane's last
    // predict, or from when the request became ready if that was later.
    Duration begin();
    // The same for a predict that has begun at that time, not after now.
    Duration begin(TimePoint at);

   private:
    friend class PredictGate;
    Permit(PredictGate& gate, std::size_t lane, std::uint64_t number)
        : gate_(&gate), lane_(lane), number_(number) {}
    PredictGate* gate_;
    std::size_t lane_;
    std::uint64_t number_;
  };

  struct Grant {
    Waiter* waiter;
    Permit permit;
  };

  // Hears of what nobody asked for in the call under way. Called outside the gate's lock, in
  // whichever thread called the gate.
  class Handler {
   public:
    virtual ~Handler() = default;
    // A permit was destroyed while this waiter was at the head of the queue.
    virtual void onGrant(Grant grant) = 0;
    // The waiter came to the head after its deadline; it has left the queue.
    virtual void onExpired(Waiter& waiter) = 0;
  };

  struct Options {
    std::size_t lanes = 1;           // predict concurrency; at least 1
    std::size_t max_waiting = 1000;  // requests waiting; more are refused
    std::size_t max_announced = 0;   // of those, announced at most
  };

  enum class Refusal { kFull, kDeadlinePassed };
  struct Waiting {};
  // Run it now on the permit's lane; or it waits; or it was not taken.
  using Admission = std::variant<Permit, Waiting, Refusal>;

  // What the gate is doing, at one instant.
  struct Snapshot {
    std::size_t waiting = 0;
    std::size_t permits = 0;     // given out
    std::size_t in_predict = 0;  // of those, begun
    Duration busy{};             // lane-time in predict since the gate was made
  };

  PredictGate(const Clock& clock, Handler& handler, const Options& options);
  ~PredictGate();
  PredictGate(const PredictGate&) = delete;
  PredictGate& operator=(const PredictGate&) = delete;

  // The waiter is ready for predict.
  Admission enter(Waiter& waiter, Deadline deadline);

  // Takes the waiter out of the queue, in O(1). False if it is not (or no longer) in it: then it
  // has been granted or expired, and whoever took it out deals with it.
  bool leave(Waiter& waiter);

  // Gives the permit back and takes the oldest waiter for the same lane, as one step. Nothing when
  // nobody waits; the lane is then free.
  std::optional<Grant> handOver(Permit permit);
  // The same for a predict that has ended at that time, not after now.
  std::optional<Grant> handOver(Permit permit, TimePoint ended);

  // The waiter that is next in line and not announced yet; from now on it is. Null if nobody is
  // left, or max_announced are. To be asked after whatever changes the queue, until it gives null.
  // mark: called with it inside the gate's lock, so before it can be granted or leave.
  Waiter* announceNext(void (*mark)(Waiter&) = nullptr);

  // Binds the waiter that is next in line to that lane, behind the request with that permit. Null
  // if nobody is left, the lane has one bound already, or that permit has come back. Not with
  // announceNext().
  Waiter* bindNext(std::size_t lane, std::uint64_t permit_number);

  Snapshot snapshot() const;
  std::size_t lanes() const { return lanes_.size(); }

 private:
  struct Lane {
    bool granted = false;
    bool begun = false;
    TimePoint idle_since;  // end of the last predict
    TimePoint ready_at;    // of the request that holds the permit
    std::uint64_t permit_number = 0;
    Waiter* bound = nullptr;
  };
  using Place = Waiter::Place;
  using Expired = IntrusiveList<Waiter>;

  Duration begin(std::size_t lane, TimePoint at);
  std::optional<Grant> takeBack(std::size_t lane, TimePoint ended);
  void remove(Waiter& waiter);
  // Takes the waiters at the head whose deadline has passed out of the queue.
  void expire(TimePoint now, Expired& expired);
  void tell(Expired& expired);
  Permit grantLane(std::size_t lane, TimePoint ready_at);
  // At that time, so many more are in predict.
  void integrate(TimePoint at, int change);

  const Clock& clock_;
  Handler& handler_;
  const std::size_t max_waiting_;
  const std::size_t max_announced_;

  mutable std::mutex mutex_;         // guards everything below
  IntrusiveList<Waiter> announced_;  // at the head of the queue
  IntrusiveList<Waiter> waiters_;    // behind those
  std::vector<Lane> lanes_;
  std::uint64_t last_permit_number_ = 0;
  std::size_t bound_ = 0;                // waiters, in none of the two lists
  std::vector<std::size_t> free_lanes_;  // last freed, first used
  std::size_t in_predict_ = 0;
  Duration busy_{};
  TimePoint integrated_until_;
};

}  // namespace penstock::runtime
