#include "net/http/grpc_message.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::http {
namespace {

using Outcome = GrpcMessageReader::Outcome;
using testing::ElementsAre;

std::string framed(std::initializer_list<std::string_view> messages) {
  net::Buffer body;
  for (const std::string_view message : messages) {
    appendGrpcMessage(body, message);
  }
  return body.toString();
}

struct Heard {
  std::vector<std::string> messages;
  Outcome last = Outcome::kMore;
};

Heard hear(GrpcMessageReader& reader, std::string_view body, std::size_t piece) {
  Heard heard;
  while (!body.empty()) {
    const std::string_view part = body.substr(0, piece);
    body.remove_prefix(part.size());
    std::span bytes(reinterpret_cast<const std::uint8_t*>(part.data()), part.size());
    while ((heard.last = reader.read(bytes)) == Outcome::kMessage) {
      heard.messages.push_back(reader.message());
    }
  }
  return heard;
}

TEST(GrpcMessage, IsPrefixedByAZeroAndItsLengthInBigEndian) {
  EXPECT_EQ(framed({"abc"}), std::string("\0\0\0\0\3abc", 8));
  EXPECT_EQ(framed({""}), std::string(5, '\0'));
  EXPECT_EQ(framed({std::string(0x01'02'03, 'x')}).substr(0, 5), std::string("\0\0\1\2\3", 5));
}

TEST(GrpcMessage, IsReadHoweverTheBodyIsCut) {
  const std::string body = framed({"first", "", std::string(300, 'x')});
  for (std::size_t piece = 1; piece <= body.size(); ++piece) {
    GrpcMessageReader reader(300);
    const Heard heard = hear(reader, body, piece);
    EXPECT_THAT(heard.messages, ElementsAre("first", "", std::string(300, 'x'))) << piece;
    EXPECT_EQ(heard.last, Outcome::kMore);
    EXPECT_TRUE(reader.atBoundary());
  }
}

TEST(GrpcMessage, IsIncompleteUntilItsLastByte) {
  const std::string body = framed({"abc"});
  for (std::size_t size = 1; size < body.size(); ++size) {
    GrpcMessageReader reader(10);
    EXPECT_TRUE(hear(reader, body.substr(0, size), size).messages.empty());
    EXPECT_FALSE(reader.atBoundary()) << size;
  }
}

TEST(GrpcMessage, AnnouncedAsTooLongIsRefusedBeforeItComes) {
  GrpcMessageReader reader(3);
  const Heard heard = hear(reader, framed({"abc"}) + framed({"abcd"}).substr(0, 5), 1);
  EXPECT_THAT(heard.messages, ElementsAre("abc"));
  EXPECT_EQ(heard.last, Outcome::kTooLong);
  EXPECT_EQ(hear(reader, framed({"a"}), 100).last, Outcome::kTooLong) << "an error stays";

  GrpcMessageReader huge(1 << 20);
  EXPECT_EQ(hear(huge, std::string("\0\xff\xff\xff\xff", 5), 5).last, Outcome::kTooLong);
}

TEST(GrpcMessage, ThatIsCompressedIsRefused) {
  GrpcMessageReader reader(100);
  EXPECT_EQ(hear(reader, std::string("\1\0\0\0\1x", 6), 6).last, Outcome::kCompressed);
}

}  // namespace
}  // namespace penstock::http
