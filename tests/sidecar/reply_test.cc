#include "sidecar/reply.h"

#include <string>

#include <gtest/gtest.h>

namespace penstock::sidecar {
namespace {

using runtime::ErrorKind;
using runtime::Outcome;

std::string field(const Reply& reply, std::string_view name) {
  return std::string(reply.head.headers.get(name).value_or("(none)"));
}

Reply ended(Outcome::Kind kind, runtime::ModelError error = {}) {
  return makeReply(Outcome{.kind = kind, .stage = {}, .output = {}, .error = std::move(error)});
}

TEST(Reply, RefusalsOfWhatWasNotRunSaySo) {
  for (const Refusal refusal :
       {Refusal::kNotReady, Refusal::kDraining, Refusal::kConcurrencyLimit, Refusal::kOverloaded,
        Refusal::kGateTimeout, Refusal::kOutOfDeviceMemory}) {
    const Reply reply = makeRefusal(refusal);
    EXPECT_EQ(reply.head.status, 503);
    EXPECT_EQ(field(reply, "x-penstock-not-executed"), "true");
    EXPECT_EQ(field(reply, "x-penstock-reason"), reasonWord(refusal));
  }
}

TEST(Reply, EveryOtherRefusalHasItsStatusAndNoSuchField) {
  const std::pair<Refusal, int> rows[] = {
      {Refusal::kWorkerLost, 502},       {Refusal::kDeadlineExceeded, 504},
      {Refusal::kCancelled, 499},        {Refusal::kBadRequest, 400},
      {Refusal::kMethodNotAllowed, 405}, {Refusal::kRequestTimeout, 408},
      {Refusal::kNotFound, 404},         {Refusal::kTooLarge, 413},
      {Refusal::kUriTooLong, 414},       {Refusal::kMisdirected, 421},
      {Refusal::kHeadersTooLarge, 431},  {Refusal::kNotImplemented, 501},
      {Refusal::kVersion, 505}};
  for (const auto& [refusal, status] : rows) {
    const Reply reply = makeRefusal(refusal);
    EXPECT_EQ(reply.head.status, status);
    EXPECT_FALSE(reply.head.headers.has("x-penstock-not-executed")) << status;
  }
}

TEST(Reply, ErrorsAreJson) {
  const Reply reply = makeRefusal(Refusal::kBadRequest, "a \"quoted\" word");
  EXPECT_EQ(reply.body, R"({"error":{"code":400,"message":"a \"quoted\" word"}})");
  EXPECT_EQ(field(reply, "content-type"), "application/json");
  EXPECT_EQ(reply.head.content_length, reply.body.size());
}

TEST(Reply, AModelsErrorBecomesAStatus) {
  const std::pair<ErrorKind, int> rows[] = {
      {ErrorKind::kBadInput, 400},         {ErrorKind::kTooLarge, 413},
      {ErrorKind::kUnsupportedMedia, 415}, {ErrorKind::kCancelled, 499},
      {ErrorKind::kInternal, 500},         {ErrorKind::kOverloaded, 503}};
  for (const auto& [kind, status] : rows) {
    const Reply reply = ended(Outcome::Kind::kModelError, {kind, "why"});
    EXPECT_EQ(reply.head.status, status);
    EXPECT_NE(reply.body.find("why"), std::string::npos);
    EXPECT_FALSE(reply.head.headers.has("x-penstock-not-executed")) << "it may have been";
  }
}

TEST(Reply, WhatTheDeviceHadNoMemoryForWasNotExecuted) {
  const Reply reply =
      ended(Outcome::Kind::kModelError, {ErrorKind::kOutOfDeviceMemory, "no memory left"});
  EXPECT_EQ(reply.head.status, 503);
  EXPECT_EQ(field(reply, "x-penstock-not-executed"), "true");
  EXPECT_EQ(field(reply, "x-penstock-reason"), "out_of_device_memory");
  EXPECT_NE(reply.body.find("no memory left"), std::string::npos);
}

TEST(Reply, TheOtherWaysToEnd) {
  EXPECT_EQ(ended(Outcome::Kind::kCancelled).head.status, 499);
  EXPECT_EQ(ended(Outcome::Kind::kDeadlineExceeded).head.status, 504);
  EXPECT_EQ(field(ended(Outcome::Kind::kDeadlineExceeded), "x-penstock-reason"),
            "deadline_exceeded");
  EXPECT_EQ(field(ended(Outcome::Kind::kGateTimeout), "x-penstock-not-executed"), "true");
  EXPECT_EQ(field(ended(Outcome::Kind::kGateFull), "x-penstock-not-executed"), "true");
}

TEST(Reply, PassesTheModelsAnswerOn) {
  const Reply reply =
      makeReply(Outcome{.kind = Outcome::Kind::kSucceeded,
                        .stage = {},
                        .output = {.status = 201, .content_type = "text/plain", .body = "hi"},
                        .error = {}});
  EXPECT_EQ(reply.head.status, 201);
  EXPECT_EQ(field(reply, "content-type"), "text/plain");
  EXPECT_EQ(reply.body, "hi");
}

TEST(Reply, LetsAModelSplitNoResponseAndSendNoStrangeStatus) {
  const auto answer = [](int status, std::string type) {
    return makeReply(
        Outcome{.kind = Outcome::Kind::kSucceeded,
                .stage = {},
                .output = {.status = status, .content_type = std::move(type), .body = {}},
                .error = {}});
  };
  EXPECT_FALSE(answer(200, "text/plain\r\nx: y").head.headers.has("content-type"));
  for (const int status : {0, 101, 199, 600}) {
    EXPECT_EQ(answer(status, "text/plain").head.status, 500);
  }
}

}  // namespace
}  // namespace penstock::sidecar
