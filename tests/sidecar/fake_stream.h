#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "net/buffer.h"
#include "net/http/stream.h"

namespace penstock::sidecar {

// The codec's side of a stream: keeps what is sent.
class FakeStream final : public http::ServerStream {
 public:
  void sendInformational(int, const http::Headers&) override {}
  void sendContinue() override { continued = true; }
  bool awaitsContinue() const override { return false; }
  void liftBodyPace() override { pace_lifted = true; }
  void sendHead(const http::ResponseHead& the_head, bool end_stream) override {
    EXPECT_FALSE(head.has_value()) << "answered twice";
    head = the_head;
    ended = end_stream;
  }
  void sendData(net::Buffer& data, bool end_stream) override {
    EXPECT_FALSE(ended);
    body += data.toString();
    data.clear();
    ended = end_stream;
  }
  void sendTrailers(const http::Headers&) override { ended = true; }
  void reset(http::ResetReason reason) override {
    EXPECT_FALSE(reset_with.has_value());
    reset_with = reason;
  }
  std::size_t unsentBytes() const override { return unsent; }
  std::uint64_t bodyBytesSent() const override { return body.size() - unsent; }
  void setHighWatermark(std::size_t) override {}
  void consume(std::size_t count) override { consumed += count; }

  int status() const { return head.has_value() ? head->status : 0; }
  std::string field(std::string_view name) const {
    return std::string(head.has_value() ? head->headers.get(name).value_or("") : "");
  }
  std::string reason() const { return field("x-penstock-reason"); }

  std::optional<http::ResponseHead> head;
  std::string body;
  bool ended = false;
  bool continued = false;
  bool pace_lifted = false;
  std::optional<http::ResetReason> reset_with;
  std::size_t consumed = 0;
  std::size_t unsent = 0;
};

}  // namespace penstock::sidecar
