// The admin server over real sockets on loopback.

#include "proxy/admin/admin_server.h"

#include <list>
#include <memory>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "net/http/health_probe.h"
#include "tests/net/recording_handler.h"
#include "tests/support/loop_runner.h"

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class AdminServerTest : public ::testing::Test {
 protected:
  // A client connection whose bytes are looked at by hand.
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
    net::RecordingHandler handler;
    std::unique_ptr<net::Connection> connection;
  };

  static std::string request(std::string_view method, std::string_view path,
                             std::string_view host) {
    return std::string(method).append(" ").append(path).append(" HTTP/1.1\r\nhost: ").append(host) +
           "\r\nconnection: close\r\n\r\n";
  }
  // The whole answer to one request.
  std::string ask(std::string_view text) {
    Client client(loop, server->address());
    client.send(text);
    EXPECT_TRUE(net::runUntil(loop, [&] { return client.handler.peer_closed > 0; }));
    return client.handler.received;
  }
  std::string get(std::string_view path) { return ask(request("GET", path, "localhost")); }

  SteadyClock clock;
  net::EventLoop loop{clock};
  AdminSources sources{
      .server = [] { return ServerStatus{.version = "1.2.3", .state = ServerState::kServing}; },
      .clusters = [] { return std::vector<ClusterStatus>{}; },
      .scaling = [] { return std::vector<ScalingStatus>{}; },
      .metrics = [] { return std::string("a_metric 1\n"); },
      .config_dump = "{}"};
  std::unique_ptr<AdminServer> server = std::make_unique<AdminServer>(
      loop, net::listenOn(net::Address::loopback(0), false).value(), sources);
};

TEST_F(AdminServerTest, AnswersWithAPage) {
  const std::string answer = get("/metrics");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(answer, HasSubstr("content-length: 11\r\n"));
  EXPECT_THAT(answer, HasSubstr("\r\n\r\na_metric 1\n"));
  EXPECT_THAT(answer, HasSubstr("cache-control: no-store"));
}

TEST_F(AdminServerTest, LeavesTheQueryAside) {
  EXPECT_THAT(get("/ready?why=not"), StartsWith("HTTP/1.1 200"));
}

TEST_F(AdminServerTest, AnswersHeadWithoutTheBody) {
  const std::string answer = ask(request("HEAD", "/metrics", "localhost"));
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(answer, HasSubstr("content-length: 11\r\n"));
  EXPECT_THAT(answer, Not(HasSubstr("a_metric")));
}

TEST_F(AdminServerTest, SaysThatThereIsNoSuchPage) {
  const std::string answer = get("/nowhere");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(answer, HasSubstr("{\"error\":{\"code\":404,"));
}

TEST_F(AdminServerTest, ChangesNothing) {
  for (const char* method : {"POST", "PUT", "DELETE", "PATCH", "OPTIONS"}) {
    const std::string answer = ask(request(method, "/ready", "localhost"));
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 405")) << method;
    EXPECT_THAT(answer, HasSubstr("allow: GET, HEAD\r\n"));
  }
}

TEST_F(AdminServerTest, ABodyDoesNotDisturbIt) {
  const std::string answer =
      ask("POST /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
          "content-length: 5\r\n\r\nhello");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 405"));
}

TEST_F(AdminServerTest, BoundToLoopbackItIsForLoopbackOnly) {
  const std::string refused = ask(request("GET", "/clusters", "evil.example"));
  EXPECT_THAT(refused, StartsWith("HTTP/1.1 421"));
  EXPECT_THAT(refused, Not(HasSubstr("clusters")));
  EXPECT_THAT(ask(request("GET", "/clusters", "127.0.0.1:1")), StartsWith("HTTP/1.1 200"));
}

TEST_F(AdminServerTest, BoundToAllItIsForAnyHost) {
  const net::Address any = net::Address::parse("0.0.0.0:0").value();
  server = std::make_unique<AdminServer>(loop, net::listenOn(any, false).value(), sources);
  Client client(loop, net::Address::loopback(server->address().port()));
  client.send(request("GET", "/ready", "admin.example"));
  ASSERT_TRUE(net::runUntil(loop, [&] { return client.handler.peer_closed > 0; }));
  EXPECT_THAT(client.handler.received, StartsWith("HTTP/1.1 200"));
}

TEST_F(AdminServerTest, RefusesWhatIsNoRequest) {
  const std::string answer = ask("GET /ready HTTP/1.1\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(answer, HasSubstr("{\"error\":{\"code\":400,"));
}

TEST_F(AdminServerTest, RefusesHeadersThatAreTooLarge) {
  const std::string answer = ask(
      "GET /ready HTTP/1.1\r\nhost: localhost\r\nx: " + std::string(17 * 1024, 'x') + "\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 431"));
}

TEST_F(AdminServerTest, SpeaksHttp2Too) {
  std::optional<http::HealthProbe::Answer> answer;
  http::HealthProbe probe(loop, server->address(),
                          {.protocol = http::UpstreamProtocol::kHttp2, .path = "/ready"},
                          [&](const http::HealthProbe::Answer& given) { answer = given; });
  ASSERT_TRUE(net::runUntil(loop, [&] { return answer.has_value(); }));
  EXPECT_EQ(answer->status, 200);
}

TEST_F(AdminServerTest, KeepsAConnectionForMoreRequests) {
  Client client(loop, server->address());
  for (int i = 1; i <= 3; ++i) {
    client.send("GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n");
    const auto answers = [&] {
      int count = 0;
      for (std::size_t at = 0;
           (at = client.handler.received.find("a_metric", at)) != std::string::npos; ++at) {
        ++count;
      }
      return count;
    };
    ASSERT_TRUE(net::runUntil(loop, [&] { return answers() == i; }));
  }
}

TEST_F(AdminServerTest, OneConnectionTooManyWaitsUntilAnotherIsClosed) {
  std::list<Client> clients;
  const std::string ready = "GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n";
  for (std::size_t i = 0; i < AdminServer::kMaxConnections; ++i) {
    clients.emplace_back(loop, server->address()).send(ready);
    ASSERT_TRUE(net::runUntil(
        loop, [&] { return clients.back().handler.received.ends_with("serving\n"); }));
  }
  Client& waiting = clients.emplace_back(loop, server->address());
  waiting.send(ready);
  const TimePoint until = clock.now() + 20ms;
  ASSERT_TRUE(net::runUntil(loop, [&] { return clock.now() >= until; }));
  EXPECT_EQ(waiting.handler.received, "");
  clients.front().connection->close();
  EXPECT_TRUE(net::runUntil(loop, [&] { return waiting.handler.received.ends_with("serving\n"); }));
}

TEST_F(AdminServerTest, DestroyedWithAnswersUnderWayItEndsThem) {
  sources.config_dump = std::string(8 << 20, 'x');
  server = std::make_unique<AdminServer>(
      loop, net::listenOn(net::Address::loopback(0), false).value(), sources);
  Client client(loop, server->address());
  client.connection->pause(net::PauseReason::kOverloaded);
  client.send(request("GET", "/config_dump", "localhost"));
  const TimePoint until = clock.now() + 20ms;
  ASSERT_TRUE(net::runUntil(loop, [&] { return clock.now() >= until; }));
  server.reset();
  client.connection->resume(net::PauseReason::kOverloaded);
  EXPECT_TRUE(net::runUntil(
      loop, [&] { return client.handler.peer_closed > 0 || client.handler.closed > 0; }));
  EXPECT_LT(client.handler.received.size(), sources.config_dump.size());
}

}  // namespace
}  // namespace penstock::proxy
