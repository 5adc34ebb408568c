// The server of the operator's ports over real sockets on loopback, with a clock moved by hand.

#include "proxy/admin/small_server.h"

#include <list>
#include <memory>
#include <stdexcept>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/net/recording_handler.h"
#include "tests/support/loop_runner.h"
#include "tests/support/manual_clock.h"

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// Answers with what the path asks for.
class Answering final : public SmallServer::Request {
 public:
  explicit Answering(http::ServerStream& stream) : Request(stream) {}

 private:
  void onHead(http::RequestHead head) override {
    if (head.path == "/throw/head") {
      throw std::runtime_error("thrown at the head");
    }
    if (head.path == "/early") {
      reply(answer(404, "early"));
    }
    path_ = std::move(head.path);
  }
  void onBody(std::span<const std::uint8_t>) override {
    if (path_ == "/throw/body") {
      throw std::out_of_range("thrown at the body");
    }
  }
  void onComplete() override {
    if (path_ == "/stream" || path_ == "/throw/late") {
      beginStream(answer(200, "").head);
      net::Buffer piece;
      piece.append("begun"s);
      stream().sendData(piece, false);
      if (path_ == "/throw/late") {
        throw std::runtime_error("thrown after the head");
      }
      return;
    }
    reply(answer(200, path_ == "/large" ? std::string(16 << 20, 'x') : "fine"));
  }
  static LocalReply answer(int status, std::string body) {
    LocalReply reply;
    reply.head.status = status;
    if (!body.empty()) {
      reply.head.content_length = body.size();
    }
    reply.body = std::move(body);
    return reply;
  }
  std::string path_;
};

std::string get(std::string_view path, std::string_view fields = "") {
  return std::string("GET ").append(path).append(" HTTP/1.1\r\nhost: x\r\n").append(fields) +
         "\r\n";
}

// An HTTP/2 frame.
std::string frame(char type, char flags, char stream, const std::string& payload) {
  return std::string{0, 0, static_cast<char>(payload.size()), type, flags, 0, 0, 0, stream} +
         payload;
}
const std::string kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, "");
// POST http / x
const std::string kPost{'\x83', '\x86', '\x44', 1, '/', '\x41', 1, 'x'};

class SmallServerTest : public ::testing::Test, private SmallServer::Owner {
 protected:
  static constexpr std::size_t kPlaces = 3;

  struct Client {
    Client(net::EventLoop& loop, const net::Address& address)
        : connection(net::Connection::connect(loop, address, nullptr,
                                              Deadline::after(loop.clock().now(), 5s), {})) {
      handler.when_connected = [this] { connection->flushLater(); };
      connection->start(handler);
    }
    void send(std::string_view text) {
      connection->output().append(text);
      if (handler.connected > 0) {
        connection->flushLater();
      }
    }
    bool ended() const { return handler.peer_closed > 0 || handler.closed > 0; }
    const std::string& received() const { return handler.received; }
    net::RecordingHandler handler;
    std::unique_ptr<net::Connection> connection;
  };

  Client& connect(std::string_view text) {
    Client& client = clients.emplace_back(loop, server.address());
    client.send(text);
    EXPECT_TRUE(net::turnUntil(loop, [&] { return client.handler.connected > 0; }));
    settle();
    return client;
  }
  // Lets what is on its way arrive: to and fro between the loop and the kernel.
  void settle() {
    for (int i = 0; i < 20; ++i) {
      net::runTurn(loop);
    }
  }
  void pass(Duration time) {
    for (; time > 0ms; time -= 50ms) {
      clock.advance(50ms);
      settle();
    }
  }
  bool ends(Client& client) {
    return net::turnUntil(loop, [&] { return client.ended(); });
  }
  bool answered(Client& client, std::string_view text) {
    return net::turnUntil(loop, [&] { return client.received().find(text) != std::string::npos; });
  }

  ManualClock clock;
  net::EventLoop loop{clock};
  SmallServer server{loop, net::listenOn(net::Address::loopback(0), false).value(), http::Limits{},
                     kPlaces, *this};
  std::list<Client> clients;

 private:
  std::unique_ptr<SmallServer::Request> makeRequest(http::ServerStream& stream) override {
    return std::make_unique<Answering>(stream);
  }
  LocalReply reject(Reason reason, std::string_view detail) override {
    return makeLocalReply(reason, detail, {}, false, Duration::zero());
  }
  LocalReply failed(std::string_view what) override {
    LocalReply reply;
    reply.head.status = 500;
    reply.body = "failed: " + std::string(what);
    return reply;
  }
};

struct Holder {
  const char* name;
  std::string sent;
  bool reads;
  Duration grace;
  friend void PrintTo(const Holder& holder, std::ostream* out) { *out << holder.name; }
};

class HeldPlaces : public SmallServerTest, public ::testing::WithParamInterface<Holder> {};

TEST_P(HeldPlaces, AreTakenByNewcomers) {
  const auto& [name, sent, reads, grace] = GetParam();
  for (std::size_t i = 0; i < 2 * kPlaces; ++i) {
    Client& holder = connect(reads ? sent : "");
    if (!reads) {
      holder.connection->pause(net::PauseReason::kOverloaded);
      holder.send(sent);
      settle();
    }
  }
  pass(grace);
  for (int i = 0; i < 2; ++i) {
    Client& newcomer = connect(get("/"));
    pass(2 * SmallServer::kNewcomerGrace);
    EXPECT_THAT(newcomer.received(), HasSubstr("fine"));
  }
}

INSTANTIATE_TEST_SUITE_P(
    SmallServer, HeldPlaces,
    ::testing::Values(
        Holder{"Nothing", "", true, SmallServer::kNewcomerGrace},
        Holder{"HalfAHead", "GET / HT", true, SmallServer::kNewcomerGrace},
        Holder{"HalfABody", "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf", true,
               SmallServer::kNewcomerGrace},
        Holder{"Idle", get("/"), true, SmallServer::kNewcomerGrace},
        Holder{"Preface", kPreface, true, SmallServer::kNewcomerGrace},
        Holder{"HalfARequest", kPreface + frame(1, 4, 1, kPost), true, SmallServer::kNewcomerGrace},
        Holder{"HalfAHeaderBlock", kPreface + frame(1, 0, 1, kPost), true,
               SmallServer::kNewcomerGrace},
        Holder{"UnreadAnswer", get("/large"), false, SmallServer::kAnsweringGrace},
        Holder{"Stream", get("/stream"), true, SmallServer::kAnsweringGrace}),
    [](const auto& holder) { return holder.param.name; });

TEST_F(SmallServerTest, AnAnswerUnderWayGoesAfterWhatHasServedNothing) {
  Client& stream = connect(get("/stream"));
  pass(SmallServer::kAnsweringGrace);
  std::vector<Client*> idle;
  for (std::size_t i = 1; i < kPlaces; ++i) {
    idle.push_back(&connect(get("/")));
    pass(SmallServer::kNewcomerGrace);
  }
  connect(get("/"));
  EXPECT_TRUE(ends(*idle.front()));
  EXPECT_FALSE(stream.ended());
}

TEST_F(SmallServerTest, IdleConnectionsStayWhileThereIsRoom) {
  Client& idle = connect(get("/"));
  pass(2 * SmallServer::kRequestTime);
  EXPECT_FALSE(idle.ended());
}

TEST_F(SmallServerTest, ConnectionsThatNeverCompleteARequestGo) {
  for (const std::string& sent :
       {""s, kPreface, kPreface + frame(1, 4, 1, kPost), kPreface + frame(1, 0, 1, kPost)}) {
    Client& client = connect(sent);
    pass(SmallServer::kRequestTime + 1s);
    EXPECT_TRUE(ends(client)) << sent;
  }
}

TEST_F(SmallServerTest, ABodyThatComesInDropsIsNotWaitedFor) {
  Client& client = connect("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n");
  for (Duration passed{}; passed < SmallServer::kRequestTime + 1s; passed += 500ms) {
    client.send("x");
    pass(500ms);
  }
  EXPECT_TRUE(ends(client));
  EXPECT_THAT(client.received(), StartsWith("HTTP/1.1 408"));
  EXPECT_THAT(client.received(), HasSubstr("connection: close"));
}

TEST_F(SmallServerTest, AHeadThatComesInDropsIsNotWaitedFor) {
  Client& client = connect("GET / HTTP/1.1\r\nhost: ");
  for (Duration passed{}; passed < SmallServer::kRequestTime; passed += 500ms) {
    client.send("x");
    pass(500ms);
  }
  EXPECT_TRUE(ends(client));
  EXPECT_THAT(client.received(), StartsWith("HTTP/1.1 408"));
}

TEST_F(SmallServerTest, AnAnswerReadInDropsIsNotWaitedFor) {
  Client& client = connect("");
  client.connection->pause(net::PauseReason::kOverloaded);
  client.send(get("/large"));
  for (Duration passed{}; passed < SmallServer::kAnswerTime + 1s; passed += 1s) {
    // Some progress each second.
    client.connection->resume(net::PauseReason::kOverloaded);
    net::runTurn(loop);
    client.connection->pause(net::PauseReason::kOverloaded);
    pass(1s);
  }
  client.connection->resume(net::PauseReason::kOverloaded);
  EXPECT_TRUE(ends(client));
  EXPECT_LT(client.received().size(), 16U << 20);
}

TEST_F(SmallServerTest, AnAnswerBeforeTheBodysEndClosesTheConnection) {
  Client& client = connect("POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n");
  EXPECT_TRUE(ends(client));
  EXPECT_THAT(client.received(), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(client.received(), HasSubstr("connection: close"));
  Client& whole = connect("POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
  EXPECT_TRUE(answered(whole, "early"));
  EXPECT_THAT(whole.received(), Not(HasSubstr("connection: close")));
}

TEST_F(SmallServerTest, AnExceptionIsAnsweredAndEndsNothingElse) {
  Client& other = connect(get("/stream"));
  Client& head = connect(get("/throw/head"));
  EXPECT_TRUE(answered(head, "failed: thrown at the head"));
  EXPECT_THAT(head.received(), StartsWith("HTTP/1.1 500"));
  Client& body =
      connect("POST /throw/body HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nxx" + get("/"));
  EXPECT_TRUE(answered(body, "failed: thrown at the body"));
  Client& late = connect(get("/throw/late"));
  EXPECT_TRUE(ends(late));
  EXPECT_FALSE(other.ended());
}

}  // namespace
}  // namespace penstock::proxy
