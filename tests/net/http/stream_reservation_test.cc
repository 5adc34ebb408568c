#include "net/http/stream_reservation.h"

#include <optional>

#include <gtest/gtest.h>

namespace penstock::http {
namespace {

TEST(StreamReservation, IsAPlaceUntilItIsDestroyed) {
  ReservedStreams reserved;
  std::optional<StreamReservation> one = reserved.reserve();
  StreamReservation other = reserved.reserve();
  EXPECT_EQ(reserved.count(), 2u);
  one.reset();
  EXPECT_EQ(reserved.count(), 1u);
  StreamReservation moved = std::move(other);
  EXPECT_EQ(reserved.count(), 1u);
  moved = {};
  EXPECT_EQ(reserved.count(), 0u);
}

TEST(StreamReservation, AnAssignedOneGivesItsOldPlaceBack) {
  ReservedStreams reserved;
  StreamReservation one = reserved.reserve();
  one = reserved.reserve();
  EXPECT_EQ(reserved.count(), 1u);
}

TEST(StreamReservation, MayOutliveItsConnection) {
  std::optional<ReservedStreams> reserved(std::in_place);
  StreamReservation one = reserved->reserve();
  reserved.reset();
}

}  // namespace
}  // namespace penstock::http
