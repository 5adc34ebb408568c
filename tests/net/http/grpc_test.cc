#include "net/http/grpc.h"

#include <gtest/gtest.h>

namespace penstock::http {
namespace {

TEST(Grpc, IsKnownByItsContentType) {
  const auto grpc = [](std::string_view type) {
    Headers headers;
    headers.add("content-type", type);
    return isGrpc(headers);
  };
  EXPECT_TRUE(grpc("application/grpc"));
  EXPECT_TRUE(grpc("application/grpc+proto"));
  EXPECT_TRUE(grpc("application/grpc;charset=utf-8"));
  EXPECT_TRUE(grpc("Application/gRPC"));
  EXPECT_FALSE(grpc("application/grpc-web"));
  EXPECT_FALSE(grpc("application/json"));
  EXPECT_FALSE(grpc("application/grp"));
  EXPECT_FALSE(isGrpc(Headers{}));
}

TEST(Grpc, SaysItsStatusAsANumber) {
  Headers trailers;
  addGrpcStatus(trailers, GrpcStatus::kUnavailable);
  const auto said = trailers.get("grpc-status");
  EXPECT_EQ(said, "14");
  EXPECT_TRUE(isGrpcStatus(*said, GrpcStatus::kUnavailable));
  EXPECT_FALSE(isGrpcStatus(*said, GrpcStatus::kOk));
  EXPECT_FALSE(isGrpcStatus("", GrpcStatus::kOk));
}

}  // namespace
}  // namespace penstock::http
