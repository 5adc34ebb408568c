#include "proxy/cluster/slot_table.h"

#include <algorithm>
#include <compare>
#include <map>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace penstock::proxy {
namespace {

using namespace std::chrono_literals;
using Row = SlotTable::Row;

net::Address addressOf(std::uint16_t port) {
  return net::Address::loopback(port);
}

class SlotTableTest : public ::testing::Test {
 protected:
  Row& ready(std::uint16_t port) {
    Row& row = table.add(addressOf(port));
    table.setAvailable(row, true);
    return row;
  }
  Row& take(ReplicaId avoid = 0) { return table.take(avoid, now); }

  SlotTable table{2};
  TimePoint now = TimePoint(1h);
};

TEST_F(SlotTableTest, OffersNothingUntilAReplicaIsAvailable) {
  Row& row = table.add(addressOf(1));
  EXPECT_EQ(table.freeSlots(), 0u);
  EXPECT_EQ(table.available(), 0u);
  table.setAvailable(row, true);
  EXPECT_EQ(table.freeSlots(), 2u);
  EXPECT_EQ(table.available(), 1u);
  table.remove(row);
  EXPECT_EQ(table.freeSlots(), 0u);
  EXPECT_EQ(table.available(), 0u);
  EXPECT_TRUE(table.rows().empty());
}

TEST_F(SlotTableTest, EqualsTakeTurns) {
  std::map<ReplicaId, int> taken;
  for (std::uint16_t port = 1; port <= 5; ++port) {
    taken[ready(port).replica.id] = 0;
  }
  for (int i = 0; i < 20; ++i) {
    Row& row = take();
    ++taken[row.replica.id];
    table.giveBack(row);
  }
  for (const auto& [id, times] : taken) {
    EXPECT_EQ(times, 4) << id;
  }
}

TEST_F(SlotTableTest, ARemovedReplicaStaysUntilItsLastSlotIsBack) {
  Row& row = ready(1);
  Row& taken = take();
  ASSERT_EQ(&taken, &row);
  const ReplicaId id = row.replica.id;
  table.remove(row);
  EXPECT_EQ(table.find(id), nullptr);
  EXPECT_EQ(table.rows().size(), 1u);
  Row& next = ready(1);
  EXPECT_NE(next.replica.id, id);
  EXPECT_EQ(table.freeSlots(), 1u) << "the address has one out";
  table.giveBack(taken);
  EXPECT_EQ(table.freeSlots(), 2u);
  EXPECT_EQ(table.rows().size(), 1u);
}

TEST_F(SlotTableTest, TakesOfTheReplicaToAvoidOnlyIfNoOtherOffersASlot) {
  Row& avoided = ready(1);
  Row& other = ready(2);
  const ReplicaId avoid = avoided.replica.id;
  EXPECT_EQ(&take(avoid), &other);
  EXPECT_EQ(&take(avoid), &other) << "although it has more slots out";
  EXPECT_EQ(&take(avoid), &avoided);
  EXPECT_EQ(table.freeSlots(), 1u);
}

TEST_F(SlotTableTest, AWordOfAFreeGateThatIsOverCountsNoMore) {
  Row& first = ready(1);
  Row& second = ready(2);
  table.setGateFreeUntil(second, now + 1s);
  table.setGateFreeUntil(first, now + 3s);
  now += 2s;
  EXPECT_EQ(&take(), &first);
}

// Every choice against a scan of all replicas by the same objections, through random events.
class Choices {
 public:
  Choices(std::uint64_t seed, std::size_t addresses) : random_(seed), addresses_(addresses) {}

  void run(std::size_t events) {
    for (std::size_t i = 0; i < events && !::testing::Test::HasFailure(); ++i) {
      event();
      check();
    }
    while (!slots_.empty()) {
      giveBack(slots_.size() - 1);
    }
    EXPECT_EQ(table_.inFlight(), 0u);
    check();
  }
  std::size_t taken() const { return taken_; }
  std::size_t avoided() const { return avoided_; }
  std::size_t swayed() const { return swayed_; }

 private:
  enum class Offers { kAll, kOne, kNothing };
  // What follows from the events about a replica that is not removed.
  struct Said {
    Row* row;
    std::uint16_t port;
    bool available = false;
    bool leaving = false;
    Offers offers = Offers::kAll;
    std::uint64_t refused_before = 0;
    TimePoint gate_free_until = TimePoint::min();
  };
  struct Held {
    Row* row;
    ReplicaId id;
    std::uint16_t port;
    std::uint64_t number;
  };
  struct Objection {
    bool avoided;
    std::uint32_t load;
    bool gate_taken;
    auto operator<=>(const Objection&) const = default;
  };

  std::size_t pick(std::size_t n) { return random_() % n; }
  Said& any() {
    auto it = said_.begin();
    std::advance(it, pick(said_.size()));
    return it->second;
  }
  std::uint32_t load(const Said& said) const {
    return static_cast<std::uint32_t>(std::ranges::count(slots_, said.port, &Held::port));
  }
  std::uint32_t offered(const Said& said) const {
    const bool any_stays =
        std::ranges::any_of(said_, [](const auto& each) { return !each.second.leaving; });
    if (!said.available || load(said) >= target_ || said.offers == Offers::kNothing ||
        (said.leaving && any_stays)) {
      return 0;
    }
    return said.offers == Offers::kOne ? 1 : target_ - load(said);
  }
  Objection objection(ReplicaId id, ReplicaId avoid) const {
    const Said& said = said_.at(id);
    return {id == avoid, load(said), now_ >= said.gate_free_until};
  }

  void event() {
    const std::size_t dice = pick(100);
    if (said_.empty() || dice < 2) {
      return add();
    }
    if (dice < 3) {
      return remove();
    }
    if (dice < 40) {
      return take();
    }
    if (dice < 70) {
      return slots_.empty() ? void() : giveBack(pick(slots_.size()));
    }
    Said& said = any();
    switch (dice) {
      case 70:
        target_ = static_cast<std::uint32_t>(1 + pick(6));
        return table_.setTarget(target_);
      case 71:
      case 72:
        said.leaving = pick(3) == 0;
        return table_.setLeaving(*said.row, said.leaving);
      case 73:
      case 74:
      case 75:
      case 76:
        said.offers = said.offers == Offers::kNothing ? Offers::kOne : said.offers;
        return table_.offerOne(*said.row);
      case 77:
      case 78:
        said.offers = Offers::kAll;
        return table_.reopen(*said.row);
      case 79:
      case 80:
        return refused();
      case 81:
      case 82:
        return accepted();
      case 83:
      case 84:
      case 85:
        said.available = pick(5) != 0;
        return table_.setAvailable(*said.row, said.available);
      default:
        if (dice < 92) {
          now_ += std::chrono::milliseconds(pick(30));
          return;
        }
        said.gate_free_until =
            pick(3) == 0 ? TimePoint::min() : now_ + std::chrono::milliseconds(pick(200));
        return table_.setGateFreeUntil(*said.row, said.gate_free_until);
    }
  }

  void add() {
    const auto port = static_cast<std::uint16_t>(1 + pick(addresses_));
    if (std::ranges::any_of(said_, [&](const auto& s) { return s.second.port == port; })) {
      return;
    }
    Row& row = table_.add(addressOf(port));
    table_.setAvailable(row, true);
    said_.emplace(row.replica.id, Said{.row = &row, .port = port, .available = true});
  }
  void remove() {
    Said& said = any();
    const ReplicaId id = said.row->replica.id;
    table_.remove(*said.row);
    said_.erase(id);
    EXPECT_EQ(table_.find(id), nullptr);
  }

  void take() {
    if (table_.freeSlots() == 0) {
      return;
    }
    const ReplicaId avoid = pick(4) == 0 ? any().row->replica.id : 0;
    std::optional<Objection> least;
    for (const auto& [id, said] : said_) {
      if (offered(said) > 0) {
        const Objection its = objection(id, avoid);
        least = least.has_value() ? std::min(*least, its) : its;
      }
    }
    ASSERT_TRUE(least.has_value());
    Objection worse = *least;
    worse.gate_taken = true;
    swayed_ += !least->gate_taken && std::ranges::any_of(said_, [&](const auto& each) {
      return offered(each.second) > 0 && objection(each.first, avoid) == worse;
    });
    Row& row = table_.take(avoid, now_);
    const ReplicaId id = row.replica.id;
    ASSERT_TRUE(said_.contains(id));
    Said& said = said_.at(id);
    EXPECT_GT(offered(said), 0u) << "it had no slot to offer";
    EXPECT_TRUE(objection(id, avoid) == *least) << "a scan chooses another";
    said.offers = said.offers == Offers::kOne ? Offers::kNothing : said.offers;
    slots_.push_back({&row, id, said.port, table_.nextNumber()});
    ++taken_;
    avoided_ += id == avoid ? 1 : 0;
  }
  void giveBack(std::size_t i) {
    table_.giveBack(*slots_[i].row);
    slots_.erase(slots_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  void refused() {
    if (slots_.empty()) {
      return;
    }
    const Held& held = slots_[pick(slots_.size())];
    const auto said = said_.find(held.id);
    const std::uint32_t in_a_row = table_.refused(*held.row, held.number);
    if (said != said_.end()) {
      EXPECT_EQ(in_a_row > 0, held.number >= said->second.refused_before);
      if (in_a_row > 0) {
        said->second.offers = Offers::kNothing;
        said->second.refused_before = newest() + 1;
      }
    }
  }
  void accepted() {
    if (slots_.empty()) {
      return;
    }
    const Held& held = slots_[pick(slots_.size())];
    table_.accepted(*held.row, held.number);
    const auto said = said_.find(held.id);
    if (said != said_.end() && held.number >= said->second.refused_before) {
      said->second.offers = Offers::kAll;
    }
  }
  std::uint64_t newest() const { return taken_; }

  void check() const {
    std::uint64_t free = 0;
    std::size_t available = 0;
    for (const auto& [id, said] : said_) {
      free += offered(said);
      available += said.available ? 1 : 0;
      EXPECT_EQ(said.row->refusing(), said.offers != Offers::kAll);
    }
    EXPECT_EQ(table_.freeSlots(), free);
    EXPECT_EQ(table_.available(), available);
    EXPECT_EQ(table_.inFlight(), slots_.size());
  }

  std::mt19937_64 random_;
  const std::size_t addresses_;
  std::uint32_t target_ = 2;
  SlotTable table_{2};
  TimePoint now_ = TimePoint(1h);
  std::map<ReplicaId, Said> said_;
  std::vector<Held> slots_;
  std::size_t taken_ = 0;
  std::size_t avoided_ = 0;
  std::size_t swayed_ = 0;
};

TEST(SlotTableChoice, IsWhatAScanOfAllReplicasChooses) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    // With few of them all leave at times.
    Choices choices(seed, seed % 2 == 0 ? 60 : 3);
    choices.run(6000);
    EXPECT_GT(choices.taken(), 500u);
    EXPECT_GT(choices.avoided(), 3u);
    EXPECT_GT(choices.swayed(), 30u);
    if (HasFailure()) {
      return;
    }
  }
}

}  // namespace
}  // namespace penstock::proxy
