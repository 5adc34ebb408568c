#pragma once

#include <functional>
#include <memory>
#include <span>

#include "net/address.h"
#include "net/connection.h"
#include "net/event_loop.h"

namespace penstock::sidecar {

// Tries once whether an address takes connections. Loop thread only.
class ConnectProbe final : private net::ConnectionHandler {
 public:
  // failure: kNone if it does.
  using Callback = std::move_only_function<void(net::CloseReason failure)>;

  // Calls back once, later than from here; the callback may destroy the probe.
  ConnectProbe(net::EventLoop& loop, const net::Address& address, Duration timeout,
               Callback callback)
      : loop_(loop),
        callback_(std::move(callback)),
        connection_(net::Connection::connect(loop, address, nullptr,
                                             Deadline::after(loop.now(), timeout),
                                             net::Connection::Options{})) {
    connection_->start(*this);
  }
  ~ConnectProbe() override {
    connection_->close();
    loop_.destroyLater(std::move(connection_));
  }

 private:
  void onConnected() override {
    connection_->close();
    tell(net::CloseReason::kNone);
  }
  void onBytes(std::span<const std::uint8_t>) override {}
  void onFillOutput(net::Buffer&) override {}
  void onPeerClosed() override {}
  void onClosed(net::CloseReason reason) override { tell(reason); }

  void tell(net::CloseReason failure) {
    Callback callback = std::move(callback_);
    callback(failure);
  }

  net::EventLoop& loop_;
  Callback callback_;
  std::unique_ptr<net::Connection> connection_;
};

}  // namespace penstock::sidecar
