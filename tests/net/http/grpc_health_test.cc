#include "net/http/grpc_health.h"

#include <string>

#include <gtest/gtest.h>

namespace penstock::http {
namespace {

using namespace std::string_literals;

TEST(GrpcHealth, AsksForAServiceOrForTheWholeServer) {
  EXPECT_EQ(grpcHealthRequest(""), "");
  EXPECT_EQ(grpcHealthRequest("m"), "\x0a\x01m");
  EXPECT_EQ(grpcHealthRequest(std::string(200, 'm')), "\x0a\xc8\x01" + std::string(200, 'm'));
}

TEST(GrpcHealth, ReadsWhatTheServerSays) {
  EXPECT_EQ(readGrpcHealthResponse(""), GrpcHealth::kUnknown);
  EXPECT_EQ(readGrpcHealthResponse("\x08\x01"), GrpcHealth::kServing);
  EXPECT_EQ(readGrpcHealthResponse("\x08\x02"), GrpcHealth::kNotServing);
  EXPECT_EQ(readGrpcHealthResponse("\x08\x03"), GrpcHealth::kServiceUnknown);
  EXPECT_EQ(readGrpcHealthResponse("\x08\x63"), GrpcHealth::kUnknown);
  EXPECT_EQ(readGrpcHealthResponse("\x12\x02hi\x19"
                                   "12345678\x25"
                                   "1234\x30\x81\x01\x08\x01"),
            GrpcHealth::kServing)
      << "fields of a later version";
}

TEST(GrpcHealth, KnowsWhatIsNoSuchMessage) {
  for (const std::string& broken :
       {"\x08"s, "\x08\x81"s, "\x12\x05hi"s, "\x0b"s, "\x19zu"s, std::string(11, '\x81')}) {
    EXPECT_FALSE(readGrpcHealthResponse(broken).has_value()) << broken;
  }
}

}  // namespace
}  // namespace penstock::http
