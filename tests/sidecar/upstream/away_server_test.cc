#include "sidecar/upstream/away_server.h"

#include <memory>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/loop_runner.h"

namespace penstock::sidecar {
namespace {

using testing::ElementsAre;

class AwayServerTest : public testing::Test {
 protected:
  // Says when it tries, and does what the test wants then.
  class Call final : public AwayServer::Waiter {
   public:
    Call(AwayServerTest& test, std::uint64_t place) : test_(test), place_(place) {
      test_.away.wait(place_, *this);
    }
    ~Call() override { test_.away.leave(place_); }
    void onTryAgain() override {
      test_.tried.push_back(place_);
      if (test_.still_away > 0) {
        --test_.still_away;
        test_.away.wait(place_, *this);
      } else {
        test_.away.onConnected();
      }
    }

   private:
    AwayServerTest& test_;
    const std::uint64_t place_;
  };

  void runUntilTried(std::size_t count) {
    EXPECT_TRUE(net::runUntil(loop, [&] { return tried.size() >= count; }));
    net::runTurn(loop);
  }

  SteadyClock clock;
  net::EventLoop loop{clock};
  AwayServer away{loop};
  int still_away = 0;
  std::vector<std::uint64_t> tried;
};

TEST_F(AwayServerTest, TheOldestTriesAndKeepsItsPlaceUntilTheServerIsBack) {
  still_away = 2;
  const Call second(*this, 2);
  const Call first(*this, 1);
  const Call third(*this, 3);
  runUntilTried(5);
  EXPECT_THAT(tried, ElementsAre(1, 1, 1, 2, 3));
  EXPECT_TRUE(away.empty());
}

TEST_F(AwayServerTest, OneThatFailsWhenAllTryIsNotTriedTwice) {
  const Call first(*this, 1);
  const Call second(*this, 2);
  away.onConnected();
  still_away = 1;
  runUntilTried(3);
  EXPECT_THAT(tried, ElementsAre(1, 2, 1));
}

TEST_F(AwayServerTest, WhoHasLeftIsNotTried) {
  auto first = std::make_unique<Call>(*this, 1);
  const Call second(*this, 2);
  first.reset();
  runUntilTried(1);
  EXPECT_THAT(tried, ElementsAre(2));
}

TEST_F(AwayServerTest, NobodyWaitsForAServerThatHasEnded) {
  away.onServerEnded();
  const Call call(*this, 1);
  EXPECT_TRUE(away.empty());
}

}  // namespace
}  // namespace penstock::sidecar
