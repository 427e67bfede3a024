#include "sweep/room.h"

#include <doctest/doctest.h>

using namespace mixflow;

namespace {

Point point(int threads, std::int64_t bytes) {
  Point point;
  point.threads = threads;
  point.process_bytes = bytes;
  return point;
}

}  // namespace

TEST_CASE("each point has CPUs of its own, and waits where there are none left") {
  const Room room(1000, 4, {0, 2, 4, 6});
  const auto first = room.place(point(2, 100), {});
  REQUIRE(first);
  CHECK(first->cpus == std::vector<int>{0, 2});
  const auto second = room.place(point(2, 100), std::vector<RoomUse>{*first});
  REQUIRE(second);
  CHECK(second->cpus == std::vector<int>{4, 6});
  CHECK_FALSE(room.place(point(1, 100), std::vector<RoomUse>{*first, *second}));
  CHECK(room.place(point(1, 100), std::vector<RoomUse>{*second})->cpus == std::vector<int>{0});
  // CPUs that are none of ours leave ours alone.
  CHECK(room.place(point(4, 100), std::vector<RoomUse>{{2, {8, 10}, 0}})->cpus.size() == 4);
}

TEST_CASE("a point of more threads than cores runs alone") {
  const Room room(1000, 2, {0, 1});
  CHECK(room.place(point(8, 100), {})->cpus.empty());
  CHECK_FALSE(room.place(point(8, 100), std::vector<RoomUse>{{1, {0}, 100}}));
}

TEST_CASE("memory is shared out by plans") {
  const Room room(1000, 8, {});
  CHECK(room.fits_alone(point(1, 1000)));
  CHECK_FALSE(room.fits_alone(point(1, 1001)));
  CHECK(room.place(point(1, 400), std::vector<RoomUse>{{1, {}, 600}}));
  CHECK_FALSE(room.place(point(1, 401), std::vector<RoomUse>{{1, {}, 600}}));
}

TEST_CASE("a process may use what it was given, or its plan and a margin") {
  CHECK(memory_limit(point(1, 1000), 77) == 77);
  CHECK(memory_limit(point(1, std::int64_t{4} << 30), 0) > std::int64_t{5} << 30);
}
