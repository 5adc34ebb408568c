#include "proxy/admin/change_access.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temporary_folder.h"

namespace penstock::proxy {
namespace {

using ::testing::EndsWith;

constexpr std::string_view kToken = "0123456789abcdef";

class ChangeAccess : public ::testing::Test {
 protected:
  ChangeAccess() {
    head.authority = "localhost:9901";
    head.headers.add("content-type", "application/json");
  }
  // The status of the refusal; 0 if there is none.
  int refused(bool loopback = true, std::string_view token = "") const {
    const auto page = refuseChange(head, loopback, token);
    return page ? page->status : 0;
  }

  http::RequestHead head;
};

TEST_F(ChangeAccess, IsFreeOnLoopbackWithoutAToken) {
  EXPECT_EQ(refused(), 0);
}

TEST_F(ChangeAccess, FromAfarThereMustBeAToken) {
  EXPECT_EQ(refused(false), 403);
  EXPECT_EQ(refused(false, kToken), 401);
  head.headers.set("authorization", "Bearer 0123456789abcdef");
  EXPECT_EQ(refused(false, kToken), 0);
  // What comes with a token that nobody configured proves nothing.
  EXPECT_EQ(refused(false, ""), 403);
}

TEST_F(ChangeAccess, TakesNoOtherToken) {
  EXPECT_EQ(refused(true, kToken), 401);
  for (const char* wrong :
       {"Bearer 0123456789abcdeF", "Bearer 0123456789abcde", "Bearer 0123456789abcdef0", "Bearer ",
        "Bearer", "", "Basic 0123456789abcdef", "0123456789abcdef", "Bearer  0123456789abcdef"}) {
    head.headers.set("authorization", wrong);
    EXPECT_EQ(refused(true, kToken), 401) << wrong;
  }
  head.headers.set("authorization", "bearer 0123456789abcdef");
  EXPECT_EQ(refused(true, kToken), 0);
  head.headers.add("authorization", "bearer 0123456789abcdef");
  EXPECT_EQ(refused(true, kToken), 401);
}

TEST_F(ChangeAccess, IsNotForPagesOfOtherSites) {
  for (const char* origin : {"null", "https://evil.example", "http://localhost:9902",
                             "http://localhost", "http://localhost:9901.evil.example", ""}) {
    head.headers.set("origin", origin);
    EXPECT_EQ(refused(), 403) << origin;
  }
  for (const char* origin : {"http://localhost:9901", "https://LOCALHOST:9901"}) {
    head.headers.set("origin", origin);
    EXPECT_EQ(refused(), 0) << origin;
  }
  // Not the first of several either.
  head.headers.add("origin", "https://evil.example");
  EXPECT_EQ(refused(), 403);
}

TEST_F(ChangeAccess, TakesJsonOnly) {
  for (const char* type : {"text/plain", "application/x-www-form-urlencoded", "", "application/jso",
                           "application/json5", "text/plain; application/json"}) {
    head.headers.set("content-type", type);
    EXPECT_EQ(refused(), 415) << type;
  }
  for (const char* type :
       {"Application/JSON", "application/json; charset=utf-8", "application/json ;charset=utf-8"}) {
    head.headers.set("content-type", type);
    EXPECT_EQ(refused(), 0) << type;
  }
  head.headers.remove("content-type");
  EXPECT_EQ(refused(), 415);
}

TEST(AdminToken, IsTheFirstLineOfItsFile) {
  const TemporaryFolder folder;
  const std::string file = folder.path("token");
  for (const char* text :
       {"0123456789abcdef", "0123456789abcdef\n", "0123456789abcdef\r\nmore\n"}) {
    folder.write("token", text);
    EXPECT_EQ(readToken(file).value(), kToken);
  }
}

TEST(AdminToken, IsLongEnoughAndPrintable) {
  const TemporaryFolder folder;
  const std::string file = folder.path("token");
  for (const std::string& text :
       {std::string(), std::string("\n0123456789abcdef"), std::string("0123456789abcde"),
        std::string("0123456789 abcdef"), std::string(257, 'x')}) {
    folder.write("token", text);
    EXPECT_THAT(readToken(file).error().message, EndsWith("characters without spaces")) << text;
  }
  EXPECT_EQ(readToken(folder.path("none")).error().message,
            folder.path("none") + ": cannot read it: No such file or directory");
}

}  // namespace
}  // namespace penstock::proxy
