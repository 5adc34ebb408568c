#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "model_runtime/python/python_runtime.h"
#include "tests/support/loop_runner.h"

namespace penstock::runtime {

// What a request hears.
class Heard final : public PythonRuntime::WebSocketListener {
 public:
  void onResponse(int the_status, PythonRuntime::Fields the_fields, std::string text) override {
    EXPECT_FALSE(over()) << "ended twice";
    status = the_status;
    fields = std::move(the_fields);
    body = std::move(text);
  }
  void onHead(int the_status, PythonRuntime::Fields the_fields) override {
    head = the_status;
    fields = std::move(the_fields);
  }
  void onChunk(std::string_view bytes) override { body += bytes; }
  void onEnd(PythonRuntime::End the_end) override {
    EXPECT_FALSE(over()) << "ended twice";
    end = the_end;
  }
  void onAccept(std::string_view, PythonRuntime::Fields) override {}
  void onMessage(bool, std::string_view) override {}
  void onClose(std::uint16_t, std::string_view) override {}
  void onTaken(std::size_t) override {}

  bool over() const { return status != 0 || end.has_value(); }

  int status = 0;
  int head = 0;
  PythonRuntime::Fields fields;
  std::string body;
  std::optional<PythonRuntime::End> end;
  PythonRuntime::Id id = 0;
};

// A Python runtime whose worker is puppet_worker.py.
class PythonRuntimeTest : public testing::Test, protected PythonRuntime::Owner {
 protected:
  static constexpr char kNoPreprocess[] = R"({"loaded":{"operations":["predict","websocket"]}})";
  static constexpr char kWithPreprocess[] =
      R"({"loaded":{"operations":["predict"],"preprocess":"sync"}})";

  void onModelReady() override { ++ready_; }
  void onModelFailed(std::string_view why) override { failed_ = why; }

  void start(const std::string& load = kNoPreprocess, PythonRuntime::Options options = {}) {
    options.worker = {.interpreter = "/usr/bin/python3",
                      .package = PENSTOCK_PUPPET_WORKER,
                      .directory = "/",
                      .environment = {},
                      .start = load};
    options.restart_back_off = std::chrono::milliseconds(1);
    options.longest_back_off = std::chrono::milliseconds(20);
    startWith(std::move(options));
  }

  void startWith(PythonRuntime::Options options) {
    PythonRuntime::Owner& owner = *this;
    runtime_ = std::make_unique<PythonRuntime>(loop_, std::move(options), logger_, metrics_, owner);
    runtime_->start();
    runUntil([this] { return ready_ > 0 || !failed_.empty(); });
  }

  void runUntil(const std::function<bool()>& done) {
    EXPECT_TRUE(net::runUntil(loop_, done)) << "waited in vain";
  }
  void runUntilOver(const Heard& heard) {
    runUntil([&heard] { return heard.over(); });
  }

  void submit(Heard& heard, const std::string& script, Deadline deadline = Deadline::never(),
              Operation operation = Operation::kPredict) {
    auto id = runtime_->submit({.operation = operation,
                                .request_json = "{}",
                                .body = script,
                                .request_id = "r",
                                .deadline = deadline},
                               heard);
    ASSERT_TRUE(id.has_value()) << "refused";
    heard.id = *id;
  }
  // Lets a script that awaits a message go on.
  void poke(const Heard& heard) { runtime_->sendMessage(heard.id, true, "go on"); }

  Deadline in(Duration timeout) const { return Deadline::after(clock_.now(), timeout); }
  double metric(const std::string& name) {
    const std::string page = metrics_.render();
    const std::size_t at = page.find("\n" + name + " ");
    EXPECT_NE(at, std::string::npos) << name;
    return at == std::string::npos ? -1 : std::stod(page.substr(at + name.size() + 2));
  }

  SteadyClock clock_;
  net::EventLoop loop_{clock_};
  Logger logger_{{.level = LogLevel::kError, .program = "test"}};
  Metrics metrics_;
  int ready_ = 0;
  std::string failed_;
  std::unique_ptr<PythonRuntime> runtime_;
};

}  // namespace penstock::runtime
