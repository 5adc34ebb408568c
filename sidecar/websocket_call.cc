#include "sidecar/websocket_call.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "sidecar/truss_reply.h"

namespace penstock::sidecar {

using runtime::PythonRuntime;

namespace {

// From a disconnect to the end of what the model does about it; then its task is cancelled.
constexpr auto kTimeToNotice = std::chrono::seconds(5);

}  // namespace

WebSocketCall::WebSocketCall(net::EventLoop& loop, PythonExecutor& executor, Executor::Id id,
                             Executor::Listener& listener, std::size_t max_message,
                             std::size_t buffer)
    : executor_(executor),
      id_(id),
      listener_(listener),
      buffer_(buffer),
      reader_(max_message, *this),
      give_up_(loop, [this] { executor_.runtime().cancel(running_); }) {}

std::optional<Reply> WebSocketCall::begin(PythonRuntime::Submission submission) {
  auto running = executor_.runtime().submit(std::move(submission), *this);
  if (!running.has_value()) {
    return makeTrussReply(running.error());
  }
  running_ = *running;
  return std::nullopt;
}

void WebSocketCall::cancel() {
  if (!accepted_) {
    executor_.runtime().cancel(running_);
    return;
  }
  if (!std::exchange(told_closed_, true)) {
    executor_.runtime().clientClosed(running_, kCloseAbnormal, {});
  }
  give_up_.armAfter(kTimeToNotice);
}

void WebSocketCall::sendData(std::span<const std::uint8_t> data, bool end) {
  unconsumed_ += data.size();
  if (!accepted_) {
    early_.append(reinterpret_cast<const char*>(data.data()), data.size());
    if (end) {
      executor_.runtime().cancel(running_);
    }
    return;
  }
  reader_.feed(data);
  if (untaken_ <= buffer_) {
    listener_.onConsumed(std::exchange(unconsumed_, 0));
  }
  if (end && !std::exchange(told_closed_, true)) {
    executor_.runtime().clientClosed(running_, kCloseAbnormal, {});
  }
}

void WebSocketCall::consumed(std::size_t bytes) {
  const std::size_t own = std::min(bytes, frame_bytes_);
  frame_bytes_ -= own;
  if (bytes > own) {
    executor_.runtime().consumed(running_, bytes - own);
  }
}

void WebSocketCall::onTaken(std::size_t bytes) {
  untaken_ -= std::min(bytes, untaken_);
  if (untaken_ <= buffer_ / 2 && unconsumed_ > 0) {
    listener_.onConsumed(std::exchange(unconsumed_, 0));
  }
}

void WebSocketCall::onClientMessage(bool text, std::string message) {
  // After the close nothing is passed on.
  if (!close_sent_) {
    untaken_ += message.size();
    executor_.runtime().sendMessage(running_, text, message);
  }
}

void WebSocketCall::onPing(std::string_view payload) {
  if (accepted_ && !close_sent_) {
    std::string pong;
    appendWebSocketFrame(pong, WebSocketOpcode::kPong, payload);
    sendFrame(pong, 0);
  }
}

void WebSocketCall::onClientClose(std::uint16_t code, std::string_view reason) {
  if (!std::exchange(told_closed_, true)) {
    executor_.runtime().clientClosed(running_, code, reason);
  }
  sendClose(code, reason);
}

void WebSocketCall::onBroken(std::uint16_t code, std::string_view why) {
  if (!std::exchange(told_closed_, true)) {
    executor_.runtime().clientClosed(running_, kCloseAbnormal, why);
  }
  sendClose(code, why);
}

void WebSocketCall::onAccept(std::string_view protocol, PythonRuntime::Fields fields) {
  accepted_ = true;
  http::ResponseHead head = makeModelHead(200, fields);
  if (!protocol.empty()) {
    head.headers.add("sec-websocket-protocol", protocol);
  }
  listener_.onHead(std::move(head));
  if (const std::string early = std::exchange(early_, {}); !early.empty()) {
    const auto bytes = std::span(reinterpret_cast<const std::uint8_t*>(early.data()), early.size());
    unconsumed_ -= bytes.size();
    sendData(bytes, false);
  }
}

void WebSocketCall::onMessage(bool text, std::string_view message) {
  if (close_sent_) {
    executor_.runtime().consumed(running_, message.size());
    return;
  }
  std::string frame;
  frame.reserve(message.size() + 10);
  appendWebSocketFrame(frame, text ? WebSocketOpcode::kText : WebSocketOpcode::kBinary, message);
  sendFrame(frame, message.size());
}

void WebSocketCall::onClose(std::uint16_t code, std::string_view reason) {
  if (accepted_) {
    // Whatever a worker says, the client gets a frame that is one.
    sendClose(isCloseCode(code) ? code : kCloseInternal, isUtf8(reason) ? reason : "");
  }
}

void WebSocketCall::onResponse(int status, PythonRuntime::Fields fields, std::string body) {
  executor_.forget(id_);
  listener_.onReply(makeModelReply(status, fields, std::move(body)));
}

void WebSocketCall::onEnd(PythonRuntime::End end) {
  executor_.forget(id_);
  if (accepted_) {
    sendClose(end == PythonRuntime::End::kFinished ? kCloseNormal : kCloseInternal, {});
    listener_.onFinished({});
  } else if (end == PythonRuntime::End::kFinished || end == PythonRuntime::End::kAborted) {
    // The model closed it without having accepted.
    listener_.onReply(makeReply(403, {}, {}));
  } else {
    listener_.onReply(makeTrussReply(end));
  }
}

void WebSocketCall::sendClose(std::uint16_t code, std::string_view reason) {
  if (!accepted_ || std::exchange(close_sent_, true)) {
    return;
  }
  std::string frame;
  appendWebSocketClose(frame, code, reason);
  sendFrame(frame, 0);
}

void WebSocketCall::sendFrame(const std::string& frame, std::size_t message_bytes) {
  frame_bytes_ += frame.size() - message_bytes;
  listener_.onData(frame);
}

}  // namespace penstock::sidecar
