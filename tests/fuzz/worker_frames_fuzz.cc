// Frames of a Python worker that has been sent four requests: whatever it says, each listener hears
// of its request in order and of its end once. The first byte says whether the model has a
// preprocess.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "model_runtime/python/python_runtime.h"
#include "tests/support/loop_runner.h"

namespace penstock::runtime {
namespace {

class Listener final : public PythonRuntime::WebSocketListener {
 public:
  void onResponse(int status, PythonRuntime::Fields, std::string) override {
    PENSTOCK_CHECK(status >= 200 && status <= 599, "a status is one of HTTP's");
    end();
  }
  void onHead(int status, PythonRuntime::Fields) override {
    PENSTOCK_CHECK(status >= 200 && status <= 599, "a status is one of HTTP's");
    begin();
  }
  void onChunk(std::string_view) override { running(); }
  void onEnd(PythonRuntime::End) override { end(); }
  void onAccept(std::string_view, PythonRuntime::Fields) override { begin(); }
  void onMessage(bool, std::string_view) override { running(); }
  void onClose(std::uint16_t, std::string_view) override { PENSTOCK_CHECK(!over_, "in order"); }
  void onTaken(std::size_t) override { PENSTOCK_CHECK(!over_, "in order"); }

 private:
  void begin() { PENSTOCK_CHECK(!over_ && !std::exchange(begun_, true), "a response begins once"); }
  void running() { PENSTOCK_CHECK(begun_ && !over_, "a piece belongs to a response"); }
  void end() { PENSTOCK_CHECK(!std::exchange(over_, true), "a request ends once"); }
  bool begun_ = false;
  bool over_ = false;
};

struct ModelOwner final : PythonRuntime::Owner {
  void onModelReady() override { settled = true; }
  void onModelFailed(std::string_view) override { settled = true; }
  bool settled = false;
};

// Bytes under a path that a child can open.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view bytes) : fd_(::memfd_create("fuzz", MFD_CLOEXEC)) {
    PENSTOCK_CHECK(
        ::write(fd_.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()),
        "there is memory");
  }
  std::string path() const { return fmt::format("/proc/{}/fd/{}", ::getpid(), fd_.get()); }

 private:
  net::UniqueFd fd_;
};

std::string greeting(std::string_view loaded) {
  std::string bytes;
  FrameWriter(bytes, FrameType::kHello, 0).put(std::uint32_t{2});
  FrameWriter(bytes, FrameType::kLoaded, 0).put(loaded);
  return bytes;
}

void run(bool preprocess, std::string_view frames) {
  static const MemoryFile without(greeting(R"({"operations":["predict","websocket"]})"));
  static const MemoryFile with(
      greeting(R"({"operations":["predict","websocket"],"preprocess":"sync"})"));
  const MemoryFile& greets = preprocess ? with : without;
  static const SteadyClock clock;
  static Logger log({.level = LogLevel::kError, .program = "fuzz"});
  const MemoryFile says(frames);
  net::EventLoop loop(clock);
  Metrics metrics;
  ModelOwner owner;
  std::array<Listener, 4> listeners;
  bool ended = false;
  {
    const std::string start = "{}";
    PythonRuntime runtime(
        loop,
        {.worker = {.interpreter = "/bin/sh",
                    .package = PENSTOCK_FUZZ_WORKER,
                    .directory = "/",
                    .environment = {{"FUZZ_GREETING", greets.path()},
                                    {"FUZZ_FRAMES", says.path()},
                                    {"FUZZ_WAIT_FOR",
                                     std::to_string(kFrameHeaderBytes + start.size() + 1)}},
                    .start = start},
         .predict_concurrency = 2,
         .restart_back_off = std::chrono::hours(1)},
        log, metrics, owner);
    runtime.start();
    PENSTOCK_CHECK(net::runUntil(loop, [&] { return owner.settled; }), "the worker has greeted");
    for (Listener& listener : listeners) {
      const bool last = &listener == &listeners.back();
      const auto id =
          runtime.submit({.operation = last ? Operation::kWebSocket : Operation::kPredict,
                          .request_json = "{}",
                          .body = "{}",
                          .request_id = "r"},
                         listener);
      PENSTOCK_CHECK(id.has_value(), "there is room");
    }
    const std::string ends = "penstock_worker_restarts_total 1";
    net::runUntil(loop, [&] {
      ended = metrics.render().find(ends) != std::string::npos;
      return ended;
    });
    PENSTOCK_CHECK(ended, "a worker that has nothing more to say has ended");
  }
  net::runTurn(loop);
}

}  // namespace
}  // namespace penstock::runtime

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 0) {
    penstock::runtime::run((data[0] & 1) != 0, {reinterpret_cast<const char*>(data) + 1, size - 1});
  }
  return 0;
}
