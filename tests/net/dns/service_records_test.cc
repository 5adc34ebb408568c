#include "net/dns/service_records.h"

#include <chrono>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::net {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Record {
  char priority;
  char port;
  char ttl;
  std::string target;  // as on the wire, without the last zero
};

// An answer to a question for the SRV records of "s".
std::string message(const std::vector<Record>& records) {
  const std::string zero(1, '\0');
  std::string result = std::string("\0\1\x81\x80\0\1\0", 7) + static_cast<char>(records.size()) +
                       std::string("\0\0\0\0\1s\0\0\x21\0\1", 11);
  for (const Record& record : records) {
    const std::string data =
        zero + record.priority + zero + zero + zero + record.port + record.target + zero;
    result += std::string("\xc0\x0c\0\x21\0\1\0\0\0", 9) + record.ttl + zero +
              static_cast<char>(data.size()) + data;
  }
  return result;
}

Result<ServiceRecords> parse(const std::string& text, std::size_t max = 10) {
  return ServiceRecords::parse({reinterpret_cast<const unsigned char*>(text.data()), text.size()},
                               max);
}

TEST(ServiceRecords, AreInTheOrderOfTheirPrioritiesEachOnce) {
  const auto records = parse(message({{2, 1, 60, "\1a"},
                                      {2, 2, 60, "\1a"},
                                      {1, 3, 60, "\1a\1b"},
                                      {1, 2, 60, "\1a"},
                                      {1, 2, 60, "\1a"}}));
  ASSERT_TRUE(records) << records.error().message;
  EXPECT_THAT(records->targets,
              ElementsAre(ServiceRecords::Target{"a", 2, 1}, ServiceRecords::Target{"a.b", 3, 1},
                          ServiceRecords::Target{"a", 1, 2}));
}

TEST(ServiceRecords, TellTheShortestTimeToLive) {
  EXPECT_EQ(parse(message({{1, 1, 60, "\1a"}, {1, 2, 20, "\1a"}, {2, 2, 30, "\1a"}}))->ttl, 20s);
}

TEST(ServiceRecords, ARootForATargetIsNone) {
  EXPECT_THAT(parse(message({{1, 1, 60, ""}}))->targets, IsEmpty());
  EXPECT_THAT(parse(message({}))->targets, IsEmpty());
}

TEST(ServiceRecords, MoreThanSoManyAreLeftOut) {
  for (const char first : {char{1}, char{2}}) {
    const char second = first == 1 ? char{2} : char{1};
    EXPECT_THAT(parse(message({{1, first, 60, "\1a"}, {1, second, 60, "\1a"}}), 1)->targets,
                ElementsAre(ServiceRecords::Target{"a", 1, 1}))
        << "the same, in any order";
  }
}

TEST(ServiceRecords, HalfAMessageIsNone) {
  const std::string whole = message({{1, 1, 60, "\1a"}, {1, 2, 60, "\1b"}});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(parse(whole.substr(0, size))) << size;
  }
}

}  // namespace
}  // namespace penstock::net
