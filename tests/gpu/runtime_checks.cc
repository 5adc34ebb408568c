#include <algorithm>
#include <chrono>
#include <cstring>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "model_runtime/cuda/fault_answer.h"
#include "model_runtime/cuda/lane_set.h"
#include "model_runtime/cuda/try.h"
#include "model_runtime/launching_model.h"
#include "model_runtime/runtime.h"
#include "tests/gpu/busy_kernel.h"
#include "tests/gpu/checks.h"
#include "tests/gpu/must.h"

namespace penstock {
namespace {

using namespace std::chrono_literals;
using runtime::Call;
using runtime::Input;
using runtime::ModelResult;
using runtime::Output;
using runtime::Runtime;
using runtime::State;
using runtime::cuda::DeviceResult;
using runtime::cuda::LaneSet;
using runtime::cuda::WorkspacePool;

struct Shape {
  std::size_t lanes = 1;
  std::size_t run_ahead = 0;
  Duration predict = 1ms;
  Duration other_stages{};  // preprocess and postprocess, each
  std::size_t input_bytes = 1;
  std::size_t requests = 500;
  std::size_t at_once = 8;
};

struct BusyState final : State {
  WorkspacePool::Lease workspace;
};

class BusyModel final : public runtime::LaunchingModel {
 public:
  explicit BusyModel(const Shape& shape) : shape_(shape), input_(shape.input_bytes) {
    auto devices = must(runtime::cuda::openDevices());
    devices.resize(1);  // what overlaps on one device is what is asked
    lanes_ = must(
        LaneSet::make(std::move(devices), {.lanes = shape.lanes, .run_ahead = shape.run_ahead}));
  }

  ModelResult<std::unique_ptr<State>> preprocess(Input, const Call& call) override {
    rest(call);
    return std::make_unique<BusyState>();
  }
  ModelResult<void> stage(State& state, const Call&) override {
    auto& workspace = static_cast<BusyState&>(state).workspace;
    workspace = lanes_->takeStagingWorkspace();
    return faults_.answer(upload(*workspace));
  }
  ModelResult<void> launch(State& state, const Call&, std::size_t number) override {
    auto& workspace = static_cast<BusyState&>(state).workspace;
    if (workspace == nullptr) {
      workspace = lanes_->takeWorkspace(number);
      PENSTOCK_TRY(faults_.answer(upload(*workspace)));
    }
    return faults_.answer(enqueue(*workspace, lanes_->lane(number)));
  }
  ModelResult<void> finish(State& state, const Call&, std::size_t) override {
    return faults_.answer(static_cast<BusyState&>(state).workspace->awaitKernels());
  }
  ModelResult<std::unique_ptr<State>> collect(std::unique_ptr<State> state, const Call&) override {
    auto& workspace = static_cast<BusyState&>(*state).workspace;
    auto output = workspace->awaitOutput();
    if (!output) {
      return std::unexpected(faults_(output.error()));
    }
    Stamps stamps;
    std::memcpy(&stamps, output->data(), sizeof stamps);
    workspace.reset();
    std::lock_guard lock(mutex_);
    stamps_.push_back(stamps);
    return state;
  }
  ModelResult<Output> postprocess(std::unique_ptr<State>, const Call& call) override {
    rest(call);
    return Output{};
  }

  // In the order in which they began.
  std::vector<Stamps> stamps() {
    std::lock_guard lock(mutex_);
    std::ranges::sort(stamps_, {}, &Stamps::began);
    return stamps_;
  }
  LaneSet& lanes() { return *lanes_; }

  DeviceResult<void> upload(runtime::cuda::Workspace& workspace) {
    PENSTOCK_TRY(workspace.reserve({.input = input_.size(), .output = sizeof(Stamps)}));
    std::memcpy(workspace.staging().data(), input_.data(), input_.size());
    return workspace.upload();
  }
  DeviceResult<void> enqueue(runtime::cuda::Workspace& workspace, runtime::cuda::Lane& lane) {
    PENSTOCK_TRY(workspace.begin(lane));
    launchBusy(static_cast<std::uint64_t>(shape_.predict.count()),
               reinterpret_cast<Stamps*>(workspace.output()), lane.stream().handle);
    return workspace.end(lane);
  }

 private:
  void rest(const Call& call) const {
    if (shape_.other_stages > Duration::zero()) {
      call.token.sleepUntil(std::chrono::steady_clock::now() + shape_.other_stages);
    }
  }

  const Shape shape_;
  const std::vector<std::byte> input_;
  std::unique_ptr<LaneSet> lanes_;
  runtime::cuda::FaultAnswer faults_{[](std::string_view why) { giveUp(std::string(why)); }};
  std::mutex mutex_;
  std::vector<Stamps> stamps_;
};

// A closed loop of clients through a runtime; what the device did, and how long all of it took.
struct Ran {
  std::vector<Stamps> stamps;
  double seconds = 0;
};

Ran run(const Shape& shape) {
  BusyModel model(shape);
  SteadyClock clock;
  Logger logger({.level = LogLevel::kWarning, .program = "gpu_check"});
  Metrics metrics;
  const TimePoint begin = clock.now();
  {
    Runtime runtime(model, clock, logger, metrics,
                    {.predict_concurrency = shape.lanes,
                     .run_ahead = shape.run_ahead,
                     .preprocess_threads = shape.at_once,
                     .postprocess_threads = shape.at_once});
    std::mutex mutex;
    std::condition_variable changed;
    std::size_t in_flight = 0;
    for (std::size_t i = 0; i < shape.requests; ++i) {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return in_flight < shape.at_once; });
      ++in_flight;
      lock.unlock();
      const auto taken = runtime.submit({}, [&](const runtime::Outcome& outcome) {
        if (outcome.kind != runtime::Outcome::Kind::kSucceeded) {
          giveUp(std::string(outcomeName(outcome)) + ": " + outcome.error.message);
        }
        std::lock_guard guard(mutex);
        --in_flight;
        changed.notify_one();
      });
      PENSTOCK_CHECK(taken.has_value(), "nothing is refused");
    }
    runtime.waitUntilIdle(Deadline::never());
  }
  return {model.stamps(), inSeconds(clock.now() - begin)};
}

std::size_t overlaps(const std::vector<Stamps>& stamps) {
  std::size_t count = 0;
  for (std::size_t i = 1; i < stamps.size(); ++i) {
    count += stamps[i].began < stamps[i - 1].ended ? 1 : 0;
  }
  return count;
}

// In microseconds, ascending; without the first few, which grow buffers.
std::vector<double> gaps(const std::vector<Stamps>& stamps) {
  std::vector<double> result;
  for (std::size_t i = 20; i < stamps.size(); ++i) {
    result.push_back(
        static_cast<double>(static_cast<std::int64_t>(stamps[i].began - stamps[i - 1].ended)) /
        1e3);
  }
  std::ranges::sort(result);
  return result;
}

double at(const std::vector<double>& sorted, double share) {
  return sorted[static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1))];
}

// In nanoseconds, of the timer that stamps are read from: a device may count in steps of a
// microsecond, and no gap is finer than that.
std::uint64_t tick(const std::vector<Stamps>& stamps) {
  std::uint64_t common = 0;
  for (const Stamps& one : stamps) {
    common = std::gcd(common, one.began - stamps.front().began);
    common = std::gcd(common, one.ended - stamps.front().began);
  }
  return common;
}

}  // namespace

void checkOverlap(Table& table) {
  const std::size_t one = overlaps(run({}).stamps);
  const std::size_t ahead = overlaps(run({.run_ahead = 1}).stamps);
  const std::size_t two = overlaps(run({.lanes = 2}).stamps);
  table.row("kernels that overlap, predict concurrency 1", std::to_string(one), "0", one == 0);
  table.row("the same, running ahead", std::to_string(ahead), "0", ahead == 0);
  table.row("kernels that overlap, predict concurrency 2", std::to_string(two), "> 0", two > 0);
}

void timeHandOver(Table& table) {
  const Ran one_by_one = run({.requests = 2000});
  const auto without = gaps(one_by_one.stamps);
  const auto ahead = gaps(run({.run_ahead = 1, .requests = 2000}).stamps);
  table.figure("step of the device's timer", std::to_string(tick(one_by_one.stamps)) + " ns");
  table.row("gap between two predicts, p50", text("%.1f µs", at(without, 0.5)), "< 50 µs",
            at(without, 0.5) < 50);
  table.row("gap between two predicts, p99", text("%.1f µs", at(without, 0.99)), "< 50 µs",
            at(without, 0.99) < 50);
  table.row("the same, running ahead, p50", text("%.1f µs", at(ahead, 0.5)), "< 5 µs",
            at(ahead, 0.5) < 5);
  table.row("the same, running ahead, p99", text("%.1f µs", at(ahead, 0.99)), "< 20 µs",
            at(ahead, 0.99) < 20);
}

// 5 ms predicts with 20 ms of pre- and postprocess each, 24 requests at a time.
double busyShare(std::size_t run_ahead, std::size_t input_bytes, std::size_t requests) {
  const Ran ran = run({.run_ahead = run_ahead,
                       .predict = 5ms,
                       .other_stages = 20ms,
                       .input_bytes = input_bytes,
                       .requests = requests,
                       .at_once = 24});
  double busy = 0;
  for (const Stamps& one : ran.stamps) {
    busy += static_cast<double>(one.ended - one.began);
  }
  return busy / static_cast<double>(ran.stamps.back().ended - ran.stamps.front().began);
}

void timeBusyShare(Table& table) {
  const double ahead = busyShare(1, 1, 1000);
  table.row("GPU busy, 5 ms predicts, 20 ms pre- and postprocess, running ahead",
            text("%.2f %%", 100 * ahead), "≥ 99 %", ahead >= 0.99);
  table.figure("the same without running ahead", text("%.2f %%", 100 * busyShare(0, 1, 400)));
  // Of a photograph of 12 megapixels.
  constexpr std::size_t kInput = std::size_t{36} << 20;
  table.figure("with inputs of 36 MiB, running ahead",
               text("%.2f %%", 100 * busyShare(1, kInput, 400)));
  table.figure("with inputs of 36 MiB, without running ahead",
               text("%.2f %%", 100 * busyShare(0, kInput, 400)));
}

void timeRuntime(Table& table) {
  const Shape shape{.run_ahead = 1, .predict = 5ms, .requests = 1000};
  run({.requests = 1});  // loads the kernel, which neither of the two is to pay for
  // The same kernels, launched one behind the other by a loop that keeps one ahead.
  BusyModel model(shape);
  runtime::cuda::Lane& lane = model.lanes().lane(0);
  const auto begin = std::chrono::steady_clock::now();
  WorkspacePool::Lease before;
  for (std::size_t i = 0; i < shape.requests; ++i) {
    WorkspacePool::Lease next = model.lanes().takeWorkspace(0);
    must(model.upload(*next));
    must(model.enqueue(*next, lane));
    before = std::move(next);  // waits for the one before
  }
  before.reset();
  const double bare = inSeconds(std::chrono::steady_clock::now() - begin);
  const double through = run(shape).seconds;
  const double cost = through / bare - 1;
  table.row("the runtime's cost over a bare loop, 5 ms predicts", text("%.2f %%", 100 * cost),
            "≤ 1 %", cost <= 0.01);
}

}  // namespace penstock
