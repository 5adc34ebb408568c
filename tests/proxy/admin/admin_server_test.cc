// The admin server over real sockets on loopback.

#include "proxy/admin/admin_server.h"

#include <memory>
#include <stdexcept>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "net/http/health_probe.h"
#include "tests/net/recording_handler.h"
#include "tests/support/loop_runner.h"

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::EndsWith;
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
  static std::string patch(std::string_view body, std::string_view fields = "") {
    return std::string(
               "PATCH /clusters/a/m/settings HTTP/1.1\r\nhost: localhost\r\n"
               "connection: close\r\ncontent-type: application/json\r\ncontent-length: ")
        .append(std::to_string(body.size()))
        .append("\r\n")
        .append(fields)
        .append("\r\n")
        .append(body);
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
  const std::string settings = "{\"concurrency_target\": 1}\n";
  std::string token;
  SettingsAnswer outcome{SettingsAnswer::Result::kAccepted, settings};
  std::vector<std::string> patches;
  AdminSources sources{
      .server = [] { return ServerStatus{.version = "1.2.3", .state = ServerState::kServing}; },
      .clusters = [] { return std::vector<ClusterStatus>{}; },
      .scaling = [] { return std::vector<ScalingStatus>{}; },
      .metrics = [] { return std::string("a_metric 1\n"); },
      .config_dump = [] { return std::string("{}"); },
      .settings = [this](std::string_view cluster) -> std::optional<std::string> {
        return cluster == "a/m" ? std::optional(settings) : std::nullopt;
      },
      .change_settings =
          [this](std::string_view, std::string_view patch) {
            patches.emplace_back(patch);
            return outcome;
          },
      .token = [this] { return token; }};
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

TEST_F(AdminServerTest, ShowsSettings) {
  const std::string shown = get("/clusters/a/m/settings");
  EXPECT_THAT(shown, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(shown, HasSubstr("content-type: application/json\r\n"));
  EXPECT_THAT(shown, EndsWith("\r\n\r\n" + settings));
  EXPECT_THAT(get("/clusters/n/settings"), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(get("/clusters//settings"), StartsWith("HTTP/1.1 404"));
}

TEST_F(AdminServerTest, PassesAChangeOn) {
  const std::string changed = ask(patch("{\"concurrency_target\": 1}"));
  EXPECT_THAT(changed, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(changed, HasSubstr("\"result\": \"ACCEPTED\",\n  \"settings\": {\n"));
  EXPECT_THAT(patches, ElementsAre("{\"concurrency_target\": 1}"));
  outcome.result = SettingsAnswer::Result::kUnchanged;
  EXPECT_THAT(ask(patch("{}")), HasSubstr("\"result\": \"UNCHANGED\""));
}

TEST_F(AdminServerTest, SaysWhyAChangeWasNotMade) {
  outcome = {SettingsAnswer::Result::kInvalid, "queue: wrong"};
  const std::string invalid = ask(patch("{}"));
  EXPECT_THAT(invalid, StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(invalid, HasSubstr("\"message\": \"queue: wrong\""));
  outcome = {SettingsAnswer::Result::kNotKept, "disk full"};
  EXPECT_THAT(ask(patch("{}")), StartsWith("HTTP/1.1 500"));
}

TEST_F(AdminServerTest, OnlyPatchChangesSettings) {
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS"}) {
    const std::string refused = ask(request(method, "/clusters/a/m/settings", "localhost"));
    EXPECT_THAT(refused, StartsWith("HTTP/1.1 405")) << method;
    EXPECT_THAT(refused, HasSubstr("allow: GET, HEAD, PATCH\r\n"));
  }
  EXPECT_THAT(ask(request("PATCH", "/clusters/n/settings", "localhost")),
              StartsWith("HTTP/1.1 404"));
}

TEST_F(AdminServerTest, BoundsTheBodyOfAChange) {
  EXPECT_THAT(ask(patch(std::string(AdminServer::kMaxBody, ' '))), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(ask(patch(std::string(AdminServer::kMaxBody + 1, ' '))), StartsWith("HTTP/1.1 413"));
  const std::string head =
      "PATCH /clusters/a/m/settings HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
      "content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
  const std::string chunk = "8000\r\n" + std::string(0x8000, ' ') + "\r\n";
  EXPECT_THAT(ask(head + chunk + chunk + "0\r\n\r\n"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(ask(head + chunk + chunk + "1\r\n \r\n0\r\n\r\n"), StartsWith("HTTP/1.1 413"));
  EXPECT_EQ(patches.size(), 2u);
}

TEST_F(AdminServerTest, AsksForABodyThatIsAnnounced) {
  Client client(loop, server->address());
  client.send(
      "PATCH /clusters/a/m/settings HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
      "content-type: application/json\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n");
  ASSERT_TRUE(
      net::runUntil(loop, [&] { return client.handler.received.starts_with("HTTP/1.1 100"); }));
  client.send("{}");
  ASSERT_TRUE(net::runUntil(loop, [&] { return client.handler.peer_closed > 0; }));
  EXPECT_THAT(client.handler.received, HasSubstr("HTTP/1.1 200"));
}

TEST_F(AdminServerTest, AChangeNeedsWhatItsRulesSay) {
  token = "0123456789abcdef";
  EXPECT_THAT(ask(patch("{}")), StartsWith("HTTP/1.1 401"));
  EXPECT_THAT(ask(patch("{}")), HasSubstr("www-authenticate: Bearer\r\n"));
  EXPECT_THAT(ask(patch("{}", "authorization: Bearer 0123456789abcdef\r\n")),
              StartsWith("HTTP/1.1 200"));
  EXPECT_EQ(patches.size(), 1u);
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

TEST_F(AdminServerTest, AnExceptionIsAnsweredWith500) {
  sources.clusters = []() -> std::vector<ClusterStatus> { throw std::runtime_error("no"); };
  sources.change_settings = [](std::string_view, std::string_view) -> SettingsAnswer {
    throw std::out_of_range("neither");
  };
  server = std::make_unique<AdminServer>(
      loop, net::listenOn(net::Address::loopback(0), false).value(), sources);
  EXPECT_THAT(get("/clusters"), StartsWith("HTTP/1.1 500"));
  const std::string answer = ask(patch("{}"));
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 500"));
  EXPECT_THAT(answer, HasSubstr("\"message\": \"a defect of the proxy: neither\""));
}

TEST_F(AdminServerTest, DestroyedWithAnswersUnderWayItEndsThem) {
  const std::size_t size = 8 << 20;
  sources.config_dump = [=] { return std::string(size, 'x'); };
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
  EXPECT_LT(client.handler.received.size(), size);
}

}  // namespace
}  // namespace penstock::proxy
