#include "net/http/headers.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace penstock::http {
namespace {

Headers sample() {
  Headers headers;
  headers.add("a", "1");
  headers.add("set-cookie", "x");
  headers.add("b", "");
  headers.add("set-cookie", "y");
  return headers;
}

std::string text(const Headers& headers) {
  std::string all;
  for (const auto [name, value] : headers) {
    all.append(name).append("=").append(value).append(";");
  }
  return all;
}

TEST(Headers, KeepsFieldsInOrder) {
  const Headers headers = sample();
  EXPECT_EQ(text(headers), "a=1;set-cookie=x;b=;set-cookie=y;");
  EXPECT_EQ(headers.size(), 4u);
  EXPECT_EQ(headers.get("set-cookie"), "x");
  EXPECT_EQ(headers.get("b"), "");
  EXPECT_EQ(headers.get("set"), std::nullopt);
  EXPECT_EQ(headers.count("set-cookie"), 2u);
}

TEST(Headers, RemovesEveryFieldOfAName) {
  Headers headers = sample();
  EXPECT_EQ(headers.remove("set-cookie"), 2u);
  EXPECT_EQ(headers.remove("set-cookie"), 0u);
  EXPECT_EQ(text(headers), "a=1;b=;");
  headers.add("c", "3");
  EXPECT_EQ(text(headers), "a=1;b=;c=3;");
}

TEST(Headers, TellsApartNamesWhoseEndsAndLengthsAreAlike) {
  Headers headers;
  headers.add("x-abc-d", "1");
  EXPECT_FALSE(headers.has("x-xyz-d"));
  EXPECT_EQ(headers.remove("x-xyz-d"), 0u);
  EXPECT_EQ(headers.remove("x-abc-d"), 1u);
  EXPECT_FALSE(headers.has("x-abc-d"));
  headers.add("x-xyz-d", "2");
  EXPECT_EQ(headers.get("x-xyz-d"), "2");
}

TEST(Headers, ReplacesAFieldEvenByItself) {
  Headers headers = sample();
  headers.set("set-cookie", "z");
  EXPECT_EQ(text(headers), "a=1;b=;set-cookie=z;");
  headers.set("b", *headers.get("set-cookie"));
  EXPECT_EQ(text(headers), "a=1;set-cookie=z;b=z;");
}

TEST(Headers, AccountsForWhatItHolds) {
  Headers headers;
  EXPECT_LE(headers.allocatedBytes(), sizeof(std::string));
  headers.add("x", std::string(10'000, 'v'));
  EXPECT_GE(headers.allocatedBytes(), 10'000u);
}

TEST(Headers, NamesProtocols) {
  EXPECT_EQ(toString(Protocol::kHttp10), "HTTP/1.0");
  EXPECT_EQ(toString(Protocol::kHttp11), "HTTP/1.1");
  EXPECT_EQ(toString(Protocol::kHttp2), "HTTP/2");
}

}  // namespace
}  // namespace penstock::http
