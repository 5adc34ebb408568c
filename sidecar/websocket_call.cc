#include "sidecar/websocket_call.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "model_runtime/python/frame.h"
#include "sidecar/truss_reply.h"

namespace penstock::sidecar {

using runtime::PythonRuntime;

namespace {

// From a disconnect to the end of what the model does about it; then its task is cancelled.
constexpr auto kTimeToNotice = std::chrono::seconds(5);

// What a message costs here and in the worker besides its bytes; else a client could send any
// number of empty ones.
constexpr std::size_t kMessageCost = 256;

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
    creditClient();
  }
  if (end && !std::exchange(told_closed_, true)) {
    executor_.runtime().clientClosed(running_, kCloseAbnormal, {});
  }
}

void WebSocketCall::consumed(std::size_t bytes) {
  const std::size_t own = std::min(bytes, control_bytes_);
  control_bytes_ -= own;
  if (bytes > own) {
    executor_.runtime().consumed(running_, bytes - own);
  }
  if (control_bytes_ == 0 && pong_.has_value()) {
    const std::string payload = *std::exchange(pong_, std::nullopt);
    onPing(payload);
    if (untaken_ <= buffer_) {
      creditClient();
    }
  }
}

void WebSocketCall::creditClient() {
  if (unconsumed_ > 0 && !pong_.has_value()) {
    listener_.onConsumed(std::exchange(unconsumed_, 0));
  }
}

void WebSocketCall::onTaken(std::size_t bytes) {
  const std::size_t cost = std::min(bytes + kMessageCost, untaken_);
  untaken_ -= cost;
  listener_.release(cost);
  if (untaken_ <= buffer_ / 2) {
    creditClient();
  }
}

bool WebSocketCall::mayKeep(std::size_t bytes) {
  const bool fits = listener_.hold(bytes);
  unfinished_ += fits ? bytes : 0;
  return fits;
}

void WebSocketCall::onClientMessage(bool text, std::string message) {
  unfinished_ = 0;
  // After the close nothing is passed on.
  if (close_sent_) {
    listener_.release(message.size());
  } else if (!listener_.hold(kMessageCost)) {
    listener_.release(message.size());
    giveUp(kCloseTryLater, "too many messages wait for the model; try again later");
  } else {
    untaken_ += message.size() + kMessageCost;
    executor_.runtime().sendMessage(running_, text, message);
  }
}

void WebSocketCall::onPing(std::string_view payload) {
  if (!accepted_ || close_sent_) {
    return;
  }
  if (control_bytes_ > 0) {
    pong_ = payload;  // RFC 6455 §5.5.3: of several pings the last may be answered alone
    return;
  }
  std::string pong;
  appendWebSocketFrame(pong, WebSocketOpcode::kPong, payload);
  sendControl(pong);
}

void WebSocketCall::onClientClose(std::uint16_t code, std::string_view reason) {
  if (!std::exchange(told_closed_, true)) {
    executor_.runtime().clientClosed(running_, code, reason);
  }
  sendClose(code, reason);
}

void WebSocketCall::onBroken(std::uint16_t code, std::string_view why) {
  listener_.release(std::exchange(unfinished_, 0));
  giveUp(code, why);
}

void WebSocketCall::giveUp(std::uint16_t code, std::string_view why) {
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
    executor_.runtime().consumed(running_, runtime::sendBytes(message.size()));
    return;
  }
  std::string frame;
  frame.reserve(runtime::sendBytes(message.size()));
  appendWebSocketFrame(frame, text ? WebSocketOpcode::kText : WebSocketOpcode::kBinary, message);
  listener_.onData(frame);
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
  pong_.reset();
  std::string frame;
  appendWebSocketClose(frame, code, reason);
  sendControl(frame);
}

void WebSocketCall::sendControl(const std::string& frame) {
  control_bytes_ += frame.size();
  listener_.onData(frame);
}

}  // namespace penstock::sidecar
