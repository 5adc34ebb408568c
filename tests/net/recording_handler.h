#pragma once

#include <functional>
#include <span>
#include <string>

#include "net/connection.h"

namespace penstock::net {

// Keeps what a connection tells, and does what the test hooks in.
class RecordingHandler final : public ConnectionHandler {
 public:
  void onConnected() override {
    ++connected;
    if (when_connected) {
      when_connected();
    }
  }
  void onBytes(std::span<const std::uint8_t> bytes) override {
    inside_bytes = true;
    received.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (when_bytes) {
      when_bytes();
    }
    inside_bytes = false;
  }
  void onFillOutput(Buffer& output) override {
    ++asked;
    asked_inside_bytes = asked_inside_bytes || inside_bytes;
    if (when_asked) {
      when_asked(output);
    }
  }
  void onPeerClosed() override {
    ++peer_closed;
    if (when_peer_closed) {
      when_peer_closed();
    }
  }
  void onClosed(CloseReason reason) override {
    ++closed;
    close_reason = reason;
    if (when_closed) {
      when_closed();
    }
  }

  int connected = 0;
  int asked = 0;
  int peer_closed = 0;
  int closed = 0;
  bool inside_bytes = false;
  bool asked_inside_bytes = false;
  std::string received;
  CloseReason close_reason = CloseReason::kNone;
  std::function<void()> when_connected;
  std::function<void()> when_bytes;
  std::function<void(Buffer&)> when_asked;
  std::function<void()> when_peer_closed;
  std::function<void()> when_closed;
};

}  // namespace penstock::net
