#pragma once

#include <memory>
#include <optional>
#include <vector>

#include <gtest/gtest.h>

#include "proxy/cluster/admission_queue.h"
#include "tests/support/manual_clock.h"

namespace penstock::proxy {

using namespace std::chrono_literals;

// A request as the queue sees it: a ticket, and what came of it.
struct Caller final : Ticket::Owner {
  explicit Caller(Inbox& inbox) : ticket(inbox, *this) {}
  void onGranted(Slot granted) override {
    slot = std::move(granted);
    ++grants;
  }
  void onExpired() override { expired = true; }
  bool hasSlot() const { return slot.valid(); }

  Slot slot;
  int grants = 0;
  bool expired = false;
  std::optional<Refusal> refusal;
  Ticket ticket;
};

// A queue, one worker's inbox, and a clock moved by hand.
class AdmissionQueueTest : public ::testing::Test {
 protected:
  explicit AdmissionQueueTest(const AdmissionQueue::Settings& settings = {.concurrency_target = 1,
                                                                          .max_requests = 5,
                                                                          .max_bytes = 1000})
      : queue(clock, settings), inbox(queue, [this] { ++wakes; }) {}

  // Each at an address of its own, from port 8080 on.
  Replica& readyReplica() { return readyReplicaAt(next_port++); }
  Replica& readyReplicaAt(std::uint16_t port) {
    Replica& replica = queue.addReplica(net::Address::loopback(port));
    queue.setAvailable(replica.id, true);
    return replica;
  }
  // A new request that asks for a slot.
  std::unique_ptr<Caller> arrive(const AdmissionQueue::Demand& demand = {}) {
    return arriveAt(inbox, demand);
  }
  std::unique_ptr<Caller> arriveAt(Inbox& at, const AdmissionQueue::Demand& demand = {}) {
    auto caller = std::make_unique<Caller>(at);
    Admission admission = queue.acquire(caller->ticket, demand);
    if (auto* slot = std::get_if<Slot>(&admission)) {
      caller->slot = std::move(*slot);
    } else if (auto* refusal = std::get_if<Refusal>(&admission)) {
      caller->refusal = *refusal;
    }
    return caller;
  }
  std::vector<std::unique_ptr<Caller>> arrive(int count) {
    std::vector<std::unique_ptr<Caller>> callers;
    for (int i = 0; i < count; ++i) {
      callers.push_back(arrive());
    }
    return callers;
  }
  void collect() {
    while (inbox.collect(100)) {
    }
  }
  AdmissionQueue::Snapshot now() const { return queue.snapshot(); }

  ManualClock clock;
  AdmissionQueue queue;
  int wakes = 0;
  std::uint16_t next_port = 8080;
  Inbox inbox;
};

}  // namespace penstock::proxy
