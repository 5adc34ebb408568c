#include "net/tls_ticket_keys.h"

#include <optional>

#include <gtest/gtest.h>

#include "tests/support/manual_clock.h"

namespace penstock::net {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

class TicketKeysTest : public testing::Test {
 protected:
  bool accepted(const TicketKeys::Key& key, bool& renew) {
    const std::optional<TicketKeys::Key> found = keys_.find(key.name, renew);
    return found && found->cipher == key.cipher && found->mac == key.mac;
  }

  ManualClock clock_;
  TicketKeys keys_{clock_};
};

TEST_F(TicketKeysTest, UsesOneKeyForHalfADay) {
  const TicketKeys::Key first = keys_.current().value();
  clock_.advance(hours(12) - seconds(1));
  EXPECT_EQ(keys_.current()->name, first.name);
  clock_.advance(seconds(1));
  const TicketKeys::Key second = keys_.current().value();
  EXPECT_NE(second.name, first.name);
  EXPECT_NE(second.cipher, first.cipher);
  EXPECT_NE(second.mac, first.mac);
}

TEST_F(TicketKeysTest, AcceptsAKeyForADayAndRenewsItsTicketsInTheSecondHalf) {
  const TicketKeys::Key key = keys_.current().value();
  bool renew = true;
  EXPECT_TRUE(accepted(key, renew));
  EXPECT_FALSE(renew);
  clock_.advance(hours(12));
  EXPECT_TRUE(accepted(key, renew));
  EXPECT_TRUE(renew);
  clock_.advance(hours(12) - seconds(1));
  EXPECT_TRUE(accepted(key, renew));
  clock_.advance(seconds(1));
  EXPECT_FALSE(accepted(key, renew));
}

TEST_F(TicketKeysTest, KnowsNoOtherKey) {
  TicketKeys::Key key = keys_.current().value();
  key.name[0] ^= 1;
  bool renew = false;
  EXPECT_FALSE(accepted(key, renew));
}

}  // namespace
}  // namespace penstock::net
