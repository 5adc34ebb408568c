#include "proxy/filters/access_log/access_log_format.h"

#include <gtest/gtest.h>

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;

class AccessLogFormatTest : public ::testing::Test {
 protected:
  AccessLogFormatTest() {
    head_.method = "POST";
    head_.path = "/predict";
    head_.authority = "model.example";
    head_.headers.add("user-agent", "curl/8");
    head_.headers.add("x-request-id", "id-1");
    head_.headers.add("x-forwarded-for", "10.0.0.1");
    report_.start_time = std::chrono::system_clock::from_time_t(1'700'000'000) + 42ms;
    report_.total = 12ms;
    report_.waited = 1500us;
    report_.replica_time = 7ms;
    report_.attempts = 2;
    report_.status = 200;
    report_.bytes_received = 3;
    report_.bytes_sent = 4;
    report_.replica = "127.0.0.1:8090";
  }
  AccessLogEntry entry() const {
    return {head_, http::Protocol::kHttp2, "127.0.0.1:5000", "m", report_};
  }
  http::RequestHead head_;
  ExchangeReport report_;
};

TEST_F(AccessLogFormatTest, WritesEnvoysDefaultFormatAndOurOwnFields) {
  EXPECT_EQ(formatDefault(entry()),
            "[2023-11-14T22:13:20.042Z] \"POST /predict HTTP/2\" 200 - 3 4 12 7 \"10.0.0.1\" "
            "\"curl/8\" \"id-1\" \"model.example\" \"127.0.0.1:8090\" waited_ms=1.500 attempts=2 "
            "client=127.0.0.1:5000");
}

TEST_F(AccessLogFormatTest, WritesADashForWhatIsAbsentAndTheReasonAsFlags) {
  head_ = {};
  report_.replica.clear();
  report_.replica_time = -1ns;
  report_.reason = Reason::kQueueFull;
  report_.status = 429;
  EXPECT_EQ(formatDefault(entry()),
            "[2023-11-14T22:13:20.042Z] \"- - HTTP/2\" 429 queue_full 3 4 12 - \"-\" \"-\" \"-\" "
            "\"-\" \"-\" waited_ms=1.500 attempts=2 client=127.0.0.1:5000");
}

TEST_F(AccessLogFormatTest, TellsTheMethodOfAWebSocketAsItWasSent) {
  head_.method = "CONNECT";
  head_.protocol = "websocket";
  EXPECT_TRUE(formatDefault(entry()).contains("\"CONNECT /predict HTTP/2\" 200"));
  AccessLogEntry upgraded = entry();
  upgraded.protocol = http::Protocol::kHttp11;
  EXPECT_TRUE(formatDefault(upgraded).contains("\"GET /predict HTTP/1.1\""));
  EXPECT_TRUE(formatJson(upgraded).contains("\"method\":\"GET\""));
}

TEST_F(AccessLogFormatTest, LetsNobodyForgeALine) {
  head_.path = "/a\"\n[x] \\";
  const std::string line = formatDefault(entry());
  EXPECT_NE(line.find("/a\\\"\\x0a[x] \\\\"), std::string::npos) << line;
  EXPECT_EQ(line.find('\n'), std::string::npos);
  EXPECT_EQ(formatJson(entry()).find('\n'), std::string::npos);
}

// Some readers end a line at these as well.
TEST_F(AccessLogFormatTest, EscapesTheSeparatorsOfUnicode) {
  head_.path = "/\xC2\x85\xE2\x80\xA8\xE2\x80\xA9\xE2\x80\xA6\xC2\xA0\xC2";
  EXPECT_TRUE(formatDefault(entry()).contains(
      "/\\xc2\\x85\\xe2\\x80\\xa8\\xe2\\x80\\xa9\xE2\x80\xA6\xC2\xA0\xC2 "));
  EXPECT_TRUE(formatJson(entry()).contains("/\\u0085\\u2028\\u2029\xE2\x80\xA6\xC2\xA0"));
}

TEST_F(AccessLogFormatTest, CutsFieldsAtOneKibibyte) {
  head_.path = "/" + std::string(5000, 'a');
  EXPECT_LT(formatDefault(entry()).size(), 1024u + 300);
  EXPECT_LT(formatJson(entry()).size(), 1024u + 600);
}

TEST_F(AccessLogFormatTest, WritesOneJsonObject) {
  report_.reason = Reason::kClientGone;
  EXPECT_EQ(
      formatJson(entry()),
      "{\"time\":\"2023-11-14T22:13:20.042Z\",\"method\":\"POST\",\"path\":\"/predict\","
      "\"protocol\":\"HTTP/2\",\"status\":200,\"reason\":\"client_gone\","
      "\"bytes_received\":3,\"bytes_sent\":4,\"duration_ms\":12.000,\"waited_ms\":1.500,"
      "\"replica_ms\":7.000,\"attempts\":2,\"cluster\":\"m\",\"replica\":\"127.0.0.1:8090\","
      "\"client\":\"127.0.0.1:5000\",\"forwarded_for\":\"10.0.0.1\",\"user_agent\":\"curl/8\","
      "\"request_id\":\"id-1\",\"authority\":\"model.example\"}");
}

}  // namespace
}  // namespace penstock::proxy
