#pragma once

#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "model_runtime/launching_model.h"
#include "tests/model_runtime/runtime_fixture.h"

namespace penstock::runtime {

// The device is a script: launches are noted, and end when the test says so.
class ScriptedLaunches final : public LaunchingModel {
 public:
  using Step = std::function<void(const std::string&)>;
  Step in_stage = [](const std::string&) {};
  Step in_launch = [](const std::string&) {};
  Step in_finish = [](const std::string&) {};
  Step in_collect = [](const std::string&) {};

  ModelResult<std::unique_ptr<State>> preprocess(Input input, const Call&) override {
    return std::make_unique<TextState>(std::move(input.body));
  }
  ModelResult<void> stage(State& state, const Call&) override {
    const std::string& text = static_cast<TextState&>(state).text;
    in_stage(text);
    if (text.starts_with("no room")) {
      return modelFailure(ErrorKind::kOutOfDeviceMemory, "no room");
    }
    return {};
  }
  ModelResult<void> launch(State& state, const Call&, std::size_t) override {
    const std::string& text = static_cast<TextState&>(state).text;
    in_launch(text);
    if (text.starts_with("no memory")) {
      return modelFailure(ErrorKind::kOutOfDeviceMemory, "no memory");
    }
    return {};
  }
  ModelResult<void> finish(State& state, const Call&, std::size_t) override {
    const std::string& text = static_cast<TextState&>(state).text;
    in_finish(text);
    if (text.starts_with("fails")) {
      return modelFailure(ErrorKind::kInternal, "it failed");
    }
    return {};
  }
  ModelResult<std::unique_ptr<State>> collect(std::unique_ptr<State> state, const Call&) override {
    in_collect(static_cast<TextState&>(*state).text);
    return state;
  }
  ModelResult<Output> postprocess(std::unique_ptr<State> state, const Call&) override {
    return Output{.content_type = "text/plain", .body = static_cast<TextState&>(*state).text};
  }
};

class LaunchingRuntimeTest : public RuntimeTest {
 protected:
  void startLaunching(std::size_t run_ahead, std::size_t lanes = 1,
                      Duration gate_timeout = std::chrono::seconds(600)) {
    runtime_ = std::make_unique<Runtime>(launches_, clock_, logger_, metrics_,
                                         Runtime::Options{.predict_concurrency = lanes,
                                                          .run_ahead = run_ahead,
                                                          .preprocess_threads = 1,
                                                          .gate_timeout = gate_timeout});
  }
  // A request's staging too, which waits for another turnstile.
  void noteStaging() {
    launches_.in_stage = [this](auto& text) {
      journal_.note("stage " + text);
      staging_.pass();
      journal_.note("staged " + text);
    };
  }
  // Every step is noted; a request's end on the device waits for the turnstile.
  void noteSteps() {
    launches_.in_launch = [this](auto& text) { journal_.note("launch " + text); };
    launches_.in_finish = [this](auto& text) {
      device_.pass();
      journal_.note("end " + text);
    };
    launches_.in_collect = [this](auto& text) { journal_.note("collect " + text); };
  }

  void waitUntilOneIsInPredict() {
    while (runtime_->gate().in_predict != 1) {
      std::this_thread::yield();
    }
  }

  // Requests from several threads, of which some are cancelled at any moment and some have hardly
  // any time. Returns when all have ended; nothing of them is left at the gate.
  void submitAndLeaveAtRandom(int requests) {
    constexpr int kClients = 3;
    std::vector<std::thread> clients;
    for (int client = 0; client < kClients; ++client) {
      clients.emplace_back([this, client, requests] {
        std::mt19937 random(static_cast<unsigned>(client));
        for (int i = 0; i < requests / kClients; ++i) {
          const Deadline deadline =
              random() % 8 == 0 ? in(std::chrono::microseconds(random() % 200)) : Deadline::never();
          auto handle = submit(std::to_string(client) + "." + std::to_string(i), deadline);
          if (random() % 3 == 0) {
            handle.cancel();
          }
          while (runtime_->inFlight() > 20) {
            std::this_thread::yield();
          }
        }
      });
    }
    for (std::thread& client : clients) {
      client.join();
    }
    EXPECT_EQ(ended(static_cast<std::size_t>(requests)).size(), static_cast<std::size_t>(requests));
    EXPECT_TRUE(runtime_->waitUntilIdle(in(std::chrono::seconds(30))));
    EXPECT_EQ(runtime_->gate().permits, 0u);
    EXPECT_EQ(runtime_->gate().waiting, 0u);
  }

  ScriptedLaunches launches_;
  Turnstile device_;
  Turnstile staging_;

  // After what it uses, so that it ends first.
  struct Ender {
    std::unique_ptr<Runtime>& runtime;
    ~Ender() { runtime.reset(); }
  } ender_{runtime_};
};

}  // namespace penstock::runtime
