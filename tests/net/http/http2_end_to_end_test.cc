// Both codecs against each other: every byte of many messages of all sizes arrives once and in
// order, whatever the windows, however slowly either side consumes, and nothing is left over.

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "net/connection.h"
#include "net/event_loop.h"
#include "net/http/http2_connections.h"
#include "tests/net/http/http2_frames.h"
#include "tests/support/loop_runner.h"
#include "tests/support/manual_clock.h"

namespace penstock::http {
namespace {

std::string pattern(std::size_t seed, std::size_t size) {
  std::string text(size, '\0');
  std::uint32_t state = static_cast<std::uint32_t>(seed) * 2654435761u + 1;
  for (char& c : text) {
    state = state * 1664525u + 1013904223u;
    c = static_cast<char>(state >> 24);
  }
  return text;
}

// Sends a text in pieces, stopping above the watermark until it is told to go on.
class Sender {
 public:
  Sender(Stream& stream, std::string text, std::size_t piece)
      : stream_(stream), text_(std::move(text)), piece_(piece) {}
  void go() {
    while (!done_ && stream_.unsentBytes() <= 256 * 1024) {
      net::Buffer data;
      const std::string_view next = std::string_view(text_).substr(at_, piece_);
      data.append(next);
      at_ += next.size();
      done_ = at_ == text_.size();
      stream_.sendData(data, done_);
    }
  }

 private:
  Stream& stream_;
  std::string text_;
  std::size_t piece_;
  std::size_t at_ = 0;
  bool done_ = false;
};

// Takes a text, consuming what has come only now and then.
class Receiver {
 public:
  void take(Stream& stream, std::span<const std::uint8_t> data, bool eager) {
    text.append(reinterpret_cast<const char*>(data.data()), data.size());
    pending_ += data.size();
    if (eager) {
      settleUp(stream);
    }
  }
  void settleUp(Stream& stream) { stream.consume(std::exchange(pending_, 0)); }

  std::string text;

 private:
  std::size_t pending_ = 0;
};

struct Plan {
  std::size_t request_size;
  std::size_t response_size;
  std::size_t piece;
  bool eager;
};

struct ServerSide final : RequestHandler {
  void onRequestHead(RequestHead head, bool end_stream) override {
    plan = head.path;
    if (end_stream) {
      answer();
    }
  }
  void onData(std::span<const std::uint8_t> data, bool end_stream) override {
    receiver.take(*stream, data, eager);
    if (end_stream) {
      answer();
    }
  }
  void onTrailers(Headers) override { FAIL(); }
  void onSendReady() override { sender->go(); }
  void onEnd(StreamEnd end) override {
    EXPECT_EQ(end, StreamEnd::kComplete);
    stream = nullptr;
  }
  void answer() {
    ResponseHead head;
    head.content_length = response.size();
    stream->sendHead(head, response.empty());
    if (!response.empty()) {
      sender = std::make_unique<Sender>(*stream, response, piece);
      sender->go();
    }
  }
  ServerStream* stream = nullptr;
  std::string plan;
  std::string response;
  std::size_t piece = 0;
  bool eager = true;
  Receiver receiver;
  std::unique_ptr<Sender> sender;
};

struct ClientSide final : ResponseHandler {
  void onInformational(ResponseHead) override { FAIL(); }
  void onResponseHead(ResponseHead head, bool) override { length = head.content_length; }
  void onData(std::span<const std::uint8_t> data, bool) override {
    receiver.take(*stream, data, eager);
  }
  void onTrailers(Headers) override { FAIL(); }
  void onSendReady() override { sender->go(); }
  void onEnd(StreamEnd how) override {
    EXPECT_EQ(how, StreamEnd::kComplete);
    ended = true;
    stream = nullptr;
  }
  ClientStream* stream = nullptr;
  std::optional<std::uint64_t> length;
  bool eager = true;
  bool ended = false;
  Receiver receiver;
  std::unique_ptr<Sender> sender;
};

class Http2EndToEndTest : public ::testing::Test,
                          public ServerConnection::Owner,
                          public ClientConnection::Owner {
 protected:
  ~Http2EndToEndTest() override {
    client_->close();
    server_->close();
  }
  void connect() {
    SocketPair pair = makeSocketPair();
    const auto wrap = [this](net::UniqueFd fd) {
      return std::make_unique<net::Connection>(loop_, std::move(fd), net::Address::loopback(1),
                                               nullptr, net::Connection::Options{});
    };
    auto server = wrap(std::move(pair.ours));
    auto client = wrap(std::move(pair.theirs));
    net::Connection& server_transport = *server;
    net::Connection& client_transport = *client;
    server_ = makeHttp2ServerConnection(loop_, std::move(server), limits_, *this);
    client_ = makeHttp2ClientConnection(loop_, std::move(client), false, limits_, *this);
    server_transport.start(*server_);
    client_transport.start(*client_);
    while (!client_->canOpen()) {
      net::runTurn(loop_);
    }
  }
  void open(const Plan& plan) {
    const std::size_t i = plans_.size();
    plans_.push_back(plan);
    clients_.push_back(std::make_unique<ClientSide>());
    ClientSide& side = *clients_.back();
    side.eager = plan.eager;
    side.stream = &client_->newStream(side);
    RequestHead head;
    head.method = "POST";
    head.scheme = "http";
    head.authority = "model";
    head.path = "/" + std::to_string(i);
    head.content_length = plan.request_size;
    side.stream->sendHead(head, plan.request_size == 0);
    if (plan.request_size > 0) {
      side.sender =
          std::make_unique<Sender>(*side.stream, pattern(i, plan.request_size), plan.piece);
      side.sender->go();
    }
  }
  bool finish() {
    // A turn in which somebody consumes makes progress; the bound only ends a failed test.
    for (int turn = 0; turn < 200'000; ++turn) {
      net::runTurn(loop_);
      bool all = true;
      for (std::size_t i = 0; i < clients_.size(); ++i) {
        if (clients_[i]->stream != nullptr) {
          clients_[i]->receiver.settleUp(*clients_[i]->stream);
        }
        if (i < servers_.size() && servers_[i]->stream != nullptr) {
          servers_[i]->receiver.settleUp(*servers_[i]->stream);
        }
        all = all && clients_[i]->ended;
      }
      if (all && server_->activeStreams() == 0) {
        return true;
      }
    }
    return false;
  }

  RequestHandler* onStream(ServerStream& stream) override {
    const std::size_t i = servers_.size();
    servers_.push_back(std::make_unique<ServerSide>());
    ServerSide& side = *servers_.back();
    side.stream = &stream;
    side.piece = plans_[i].piece;
    side.eager = plans_[i].eager;
    side.response = pattern(i + 1'000'000, plans_[i].response_size);
    return &side;
  }
  ResponseHead rejectRequest(ServerConnection::Rejection, std::string_view, std::string&) override {
    ADD_FAILURE();
    return {};
  }
  void onConnectionClosed(ServerConnection&) override { ADD_FAILURE(); }
  void onReady(ClientConnection&) override {}
  void onCapacity(ClientConnection&) override {}
  void onDraining(ClientConnection&) override { ADD_FAILURE(); }
  void onConnectionClosed(ClientConnection&, net::CloseReason) override { ADD_FAILURE(); }
  void onNotHttp2(ClientConnection&, NotHttp2) override { ADD_FAILURE(); }

  ManualClock clock_;
  net::EventLoop loop_{clock_};
  Limits limits_;
  std::vector<Plan> plans_;
  std::vector<std::unique_ptr<ServerSide>> servers_;
  std::vector<std::unique_ptr<ClientSide>> clients_;
  std::unique_ptr<ServerCodec> server_;
  std::unique_ptr<ClientCodec> client_;
};

TEST_F(Http2EndToEndTest, DeliversEveryByteOnceAndInOrder) {
  limits_.stream_window = 100'000;
  limits_.connection_window = 300'000;
  connect();
  std::mt19937 random(20240611);
  constexpr std::size_t kSizes[] = {0, 1, 9, 2047, 2048, 16384, 16385, 65536, 300'000, 1'000'000};
  constexpr std::size_t kPieces[] = {1, 100, 5000, 65536, 1'000'000};
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 15; ++i) {
      const std::size_t largest = std::size(kSizes);
      Plan plan{.request_size = kSizes[random() % largest],
                .response_size = kSizes[random() % largest],
                .piece = kPieces[random() % std::size(kPieces)],
                .eager = random() % 2 == 0};
      if (plan.piece < 100) {
        plan.request_size = std::min<std::size_t>(plan.request_size, 20'000);
        plan.response_size = std::min<std::size_t>(plan.response_size, 20'000);
      }
      open(plan);
    }
    ASSERT_TRUE(finish());
  }
  for (std::size_t i = 0; i < plans_.size(); ++i) {
    SCOPED_TRACE(i);
    EXPECT_EQ(servers_[i]->plan, "/" + std::to_string(i));
    EXPECT_TRUE(servers_[i]->receiver.text == pattern(i, plans_[i].request_size));
    EXPECT_TRUE(clients_[i]->receiver.text == pattern(i + 1'000'000, plans_[i].response_size));
    EXPECT_EQ(clients_[i]->length, plans_[i].response_size);
  }
}

}  // namespace
}  // namespace penstock::http
