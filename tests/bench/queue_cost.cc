// What one request costs the admission queue, by the number of replicas: CPU per acquire and
// release while slots are free, and per hand-over of a full queue. No network. Rounds alternate, so
// that the machine's drift concerns all numbers of replicas alike; the medians are printed.
//
// usage: queue_cost [ROUNDS]

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <memory>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "proxy/cluster/admission_queue.h"

namespace penstock::proxy {
namespace {

constexpr std::size_t kReplicas[] = {4, 32, 200, 1000, 4000};
constexpr std::uint32_t kTarget = 4;
constexpr std::size_t kOperations = 40'000;  // a round

struct Request final : Ticket::Owner {
  explicit Request(Inbox& inbox) : ticket(inbox, *this) {}
  void onGranted(Slot granted) override { slot = std::move(granted); }
  void onExpired() override {}

  Slot slot;
  Ticket ticket;
};

double cpuNanoseconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

class Bench {
 public:
  explicit Bench(std::size_t replicas)
      : queue_(clock_, {.concurrency_target = kTarget, .max_requests = 1u << 20}) {
    for (std::size_t i = 0; i < replicas; ++i) {
      const auto port = static_cast<std::uint16_t>(1 + i);
      queue_.setAvailable(queue_.addReplica(net::Address::loopback(port)).id, true);
    }
    slots_ = replicas * kTarget;
  }

  // Half of the slots are out; each request takes one, and the oldest gives its own back.
  double acquireAndRelease() {
    std::deque<std::unique_ptr<Request>> running;
    for (std::size_t i = 0; i < slots_ / 2; ++i) {
      running.push_back(arrive());
    }
    const double start = cpuNanoseconds();
    for (std::size_t i = 0; i < kOperations; ++i) {
      running.push_back(arrive());
      running.pop_front();
    }
    return (cpuNanoseconds() - start) / kOperations;
  }

  // All slots are out and as many requests wait; each end lets one in, and one more arrives.
  double handOver() {
    std::deque<std::unique_ptr<Request>> requests;
    for (std::size_t i = 0; i < 2 * slots_; ++i) {
      requests.push_back(arrive());
    }
    const double start = cpuNanoseconds();
    for (std::size_t i = 0; i < kOperations; ++i) {
      requests.pop_front();
      inbox_.collect(1);
      requests.push_back(arrive());
    }
    return (cpuNanoseconds() - start) / kOperations;
  }

 private:
  std::unique_ptr<Request> arrive() {
    auto request = std::make_unique<Request>(inbox_);
    Admission admission = queue_.acquire(request->ticket, {});
    if (auto* slot = std::get_if<Slot>(&admission)) {
      request->slot = std::move(*slot);
    }
    return request;
  }

  SteadyClock clock_;
  AdmissionQueue queue_;
  Inbox inbox_{queue_, [] {}};
  std::size_t slots_ = 0;
};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

void run(int rounds) {
  std::vector<std::unique_ptr<Bench>> benches;
  for (const std::size_t replicas : kReplicas) {
    benches.push_back(std::make_unique<Bench>(replicas));
  }
  std::vector<std::vector<double>> acquire(benches.size());
  std::vector<std::vector<double>> hand_over(benches.size());
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < benches.size(); ++i) {
      acquire[i].push_back(benches[i]->acquireAndRelease());
      hand_over[i].push_back(benches[i]->handOver());
    }
  }
  for (std::size_t i = 0; i < benches.size(); ++i) {
    std::printf("%zu %.0f %.0f\n", kReplicas[i], median(acquire[i]), median(hand_over[i]));
  }
}

}  // namespace
}  // namespace penstock::proxy

int main(int argc, char** argv) {
  int rounds = 5;
  if (argc > 1) {
    const std::string_view text = argv[1];
    if (std::from_chars(text.data(), text.data() + text.size(), rounds).ec != std::errc() ||
        rounds < 1) {
      std::fprintf(stderr, "usage: queue_cost [ROUNDS]\n");
      return EXIT_FAILURE;
    }
  }
  penstock::proxy::run(rounds);
  return EXIT_SUCCESS;
}
