#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/event_loop.h"
#include "sidecar/python_executor.h"

namespace penstock::sidecar {

// Asks the model for its health and answers as Truss does.
class HealthCall final : public PythonExecutor::Call {
 public:
  HealthCall(PythonExecutor& executor, Executor::Id id, Executor::Listener& listener);
  void cancel() override {}
  void sendData(std::span<const std::uint8_t>, bool) override {}
  void consumed(std::size_t) override {}
};

// A request with a whole body, whose response is whole or a stream of chunks.
class ModelCall final : public PythonExecutor::Call, private runtime::PythonRuntime::Listener {
 public:
  ModelCall(PythonExecutor& executor, Executor::Id id, Executor::Listener& listener)
      : executor_(executor), id_(id), listener_(listener) {}

  // Hands it to the runtime; if that refuses it, the reply to give.
  std::optional<Reply> begin(runtime::PythonRuntime::Submission submission);
  void cancel() override { executor_.runtime().cancel(running_); }
  void sendData(std::span<const std::uint8_t>, bool) override {}
  void consumed(std::size_t bytes) override { executor_.runtime().consumed(running_, bytes); }

 private:
  void onResponse(int status, runtime::PythonRuntime::Fields fields, std::string body) override;
  void onStalled() override { listener_.onGivenUp(Refusal::kStreamStalled); }
  void onHead(int status, runtime::PythonRuntime::Fields fields) override;
  void onChunk(std::string_view bytes) override { listener_.onData(bytes); }
  void onEnd(runtime::PythonRuntime::End end) override;

  PythonExecutor& executor_;
  const Executor::Id id_;
  Executor::Listener& listener_;
  runtime::PythonRuntime::Id running_ = 0;
  bool streaming_ = false;
};

}  // namespace penstock::sidecar
