#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/event_loop.h"
#include "sidecar/python_executor.h"
#include "sidecar/websocket_frames.h"

namespace penstock::sidecar {

// A WebSocket: frames on the client's side, messages on the model's. What a client can make it keep
// is bounded: messages that the model has not taken count with all other bodies, and hold back the
// client; of the pings that come while it does not read their pongs the last is answered.
class WebSocketCall final : public PythonExecutor::Call,
                            private runtime::PythonRuntime::WebSocketListener,
                            private WebSocketReader::Handler {
 public:
  // max_message, buffer: bytes of one message, and of those that the model has not taken.
  WebSocketCall(net::EventLoop& loop, PythonExecutor& executor, Executor::Id id,
                Executor::Listener& listener, std::size_t max_message, std::size_t buffer);

  std::optional<Reply> begin(runtime::PythonRuntime::Submission submission);
  // The model hears of a disconnect, and has a moment to end by itself.
  void cancel() override;
  void sendData(std::span<const std::uint8_t> data, bool end) override;
  void consumed(std::size_t bytes) override;

 private:
  void onResponse(int status, runtime::PythonRuntime::Fields fields, std::string body) override;
  void onHead(int, runtime::PythonRuntime::Fields) override {}
  void onChunk(std::string_view) override {}
  void onEnd(runtime::PythonRuntime::End end) override;
  void onAccept(std::string_view protocol, runtime::PythonRuntime::Fields fields) override;
  void onMessage(bool text, std::string_view message) override;
  void onClose(std::uint16_t code, std::string_view reason) override;
  void onTaken(std::size_t bytes) override;

  bool mayKeep(std::size_t bytes) override;
  void onClientMessage(bool text, std::string message) override;
  void onPing(std::string_view payload) override;
  void onClientClose(std::uint16_t code, std::string_view reason) override;
  void onBroken(std::uint16_t code, std::string_view why) override;

  void sendClose(std::uint16_t code, std::string_view reason);
  void sendControl(const std::string& frame);
  // Lets the client send as much more as it has sent, if there is room.
  void creditClient();
  // Ends it from this side.
  void giveUp(std::uint16_t code, std::string_view why);

  PythonExecutor& executor_;
  const Executor::Id id_;
  Executor::Listener& listener_;
  const std::size_t buffer_;
  WebSocketReader reader_;
  runtime::PythonRuntime::Id running_ = 0;
  std::string early_;  // what the client sent before it was accepted; at most a stream's window
  bool accepted_ = false;
  bool close_sent_ = false;
  net::Timer give_up_;
  bool told_closed_ = false;         // the model knows that the client has closed
  std::size_t unfinished_ = 0;       // bytes of the message that is still coming
  std::size_t untaken_ = 0;          // what messages cost that the model has not taken
  std::size_t unconsumed_ = 0;       // bytes from the client, withheld until it has
  std::size_t control_bytes_ = 0;    // of control frames that are on their way to the client
  std::optional<std::string> pong_;  // to be sent when they are there
};

}  // namespace penstock::sidecar
