#include "sidecar/python_calls.h"

#include <utility>

#include "sidecar/truss_reply.h"

namespace penstock::sidecar {

using runtime::PythonRuntime;

HealthCall::HealthCall(PythonExecutor& executor, Executor::Id id, Executor::Listener& listener) {
  executor.runtime().checkHealth([&executor, id, &listener](bool healthy) {
    executor.forget(id);
    listener.onReply(healthy ? makeReply(200, "application/json", "{}") : makeModelNotReady());
  });
}

std::optional<Reply> ModelCall::begin(PythonRuntime::Submission submission) {
  auto running = executor_.runtime().submit(std::move(submission), *this);
  if (!running.has_value()) {
    return makeTrussReply(running.error());
  }
  running_ = *running;
  return std::nullopt;
}

void ModelCall::onResponse(int status, PythonRuntime::Fields fields, std::string body) {
  executor_.forget(id_);
  listener_.onReply(makeModelReply(status, fields, std::move(body)));
}

void ModelCall::onHead(int status, PythonRuntime::Fields fields) {
  streaming_ = true;
  listener_.onHead(makeModelHead(status, fields));
}

void ModelCall::onEnd(PythonRuntime::End end) {
  executor_.forget(id_);
  if (!streaming_) {
    listener_.onReply(makeTrussReply(end));
  } else if (end == PythonRuntime::End::kFinished) {
    listener_.onFinished({});
  } else {
    listener_.onAborted(refusalOf(end));
  }
}

}  // namespace penstock::sidecar
