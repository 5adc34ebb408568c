#pragma once

#include <span>
#include <string>

#include "net/event_loop.h"
#include "net/http/connection_pool.h"
#include "net/http/stream.h"

namespace penstock::proxy {

class UpstreamCluster;

// POST /penstock/cancel to a sidecar for one attempt; the answer does not matter. Ends by itself
// within five seconds. Loop thread only.
class CancelCall final : public http::ResponseHandler, public http::StreamWaiter {
 public:
  CancelCall(UpstreamCluster& cluster, std::string authority, std::string attempt_id);
  ~CancelCall() override;

  void onConnection(http::ClientConnection& connection) override;
  void onConnectFailed(net::CloseReason, std::string_view) override;
  void onNoStream() override;
  void onInformational(http::ResponseHead) override {}
  void onResponseHead(http::ResponseHead, bool) override {}
  void onData(std::span<const std::uint8_t> data, bool) override { stream_->consume(data.size()); }
  void onTrailers(http::Headers) override {}
  void onSendReady() override {}
  void onEnd(http::StreamEnd) override;

 private:
  UpstreamCluster& cluster_;
  std::string authority_;
  std::string attempt_id_;
  http::ClientStream* stream_ = nullptr;
  net::Timer timeout_;
};

}  // namespace penstock::proxy
