#include "sidecar/truss_reply.h"

#include <string>

#include <gtest/gtest.h>

namespace penstock::sidecar {
namespace {

using End = runtime::PythonRuntime::End;

std::string field(const Reply& reply, std::string_view name) {
  return std::string(reply.head.headers.get(name).value_or("(none)"));
}

TEST(TrussReply, ErrorsAreThoseOfATrussWithTheSidecarsOwnFields) {
  const Reply reply = makeModelNotReady();
  EXPECT_EQ(reply.head.status, 503);
  EXPECT_EQ(reply.body, R"({"error": "Model with name model is not ready."})");
  EXPECT_EQ(reply.head.content_length, reply.body.size());
  EXPECT_EQ(field(reply, "content-type"), "application/json");
  EXPECT_EQ(field(reply, "x-baseten-error-source"), "04");
  EXPECT_EQ(field(reply, "x-baseten-error-code"), "600");
  EXPECT_EQ(field(reply, "x-penstock-reason"), "not_ready");
  EXPECT_EQ(field(reply, "x-penstock-not-executed"), "true");
}

TEST(TrussReply, EveryEndHasItsStatus) {
  const std::tuple<End, int, const char*> rows[] = {
      {End::kCancelled, 499, "(none)"}, {End::kDeadlineExceeded, 504, "(none)"},
      {End::kStalled, 504, "(none)"},   {End::kGateFull, 503, "true"},
      {End::kGateTimeout, 503, "true"}, {End::kWorkerLost, 502, "(none)"},
      {End::kNotExecuted, 503, "true"}, {End::kUnfit, 500, "(none)"}};
  for (const auto& [end, status, not_executed] : rows) {
    const Reply reply = makeTrussReply(end);
    EXPECT_EQ(reply.head.status, status);
    EXPECT_EQ(field(reply, "x-penstock-not-executed"), not_executed) << status;
  }
}

TEST(TrussReply, KeepsTheModelsFieldsButForTheConnections) {
  const Reply reply = makeModelReply(201,
                                     {{"Content-Type", "text/plain"},
                                      {"X-A", "1"},
                                      {"Content-Length", "7"},
                                      {"Transfer-Encoding", "chunked"},
                                      {"connection", "close"}},
                                     "hi");
  EXPECT_EQ(reply.head.status, 201);
  EXPECT_EQ(reply.head.headers.size(), 2u);
  EXPECT_EQ(field(reply, "content-type"), "text/plain");
  EXPECT_EQ(field(reply, "x-a"), "1");
  EXPECT_EQ(reply.head.content_length, 2u);
}

}  // namespace
}  // namespace penstock::sidecar
