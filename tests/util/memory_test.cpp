#include "util/memory.h"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <string>

#include "testing.h"
#include "util/error.h"

using namespace mixflow;

TEST_CASE("amounts of memory have a unit, or are a share of the whole") {
  CHECK(parse_memory("12GiB", 0, "x") == std::int64_t{12} << 30);
  CHECK(parse_memory("500 MiB", 0, "x") == std::int64_t{500} << 20);
  CHECK(parse_memory("1.5TiB", 0, "x") == std::int64_t{3} << 39);
  CHECK(parse_memory("4096B", 0, "x") == 4096);
  CHECK(parse_memory("80%", 1000, "x") == 800);
  CHECK(parse_memory("12.5 %", 1000, "x") == 125);
}

TEST_CASE("what is no amount of memory is refused with the place where it was written") {
  for (const char* text :
       {"", "12", "12GB", "GiB", "80%x", "-1GiB", "0B", "0%", "nan%", "1e30TiB", "12 G"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(parse_memory(text, 1000, "--limit"), UserError);
  }
  try {
    parse_memory("12G", 1000, "--limit");
    FAIL("accepted");
  } catch (const UserError& error) {
    CHECK(std::string(error.what()) ==
          "--limit: expected an amount of memory with its unit (B, KiB, MiB, GiB, TiB) or a share "
          "of it, such as 12GiB or 80%, got \"12G\"");
  }
}

TEST_CASE("this process may use some memory, and no more than there is") {
  CHECK(usable_memory_bytes() > std::int64_t{16} << 20);
  CHECK(usable_memory_bytes() <= ram_bytes());
}

TEST_CASE("the process's own limits count, and leave the group's as it is") {
  if (!kThorough) return;  // sanitizers reserve terabytes of address space, which count as data
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_DATA, &before) == 0);
  const std::int64_t group = group_memory_bytes();
  rlimit tight = before;
  tight.rlim_cur = std::uint64_t{300} << 20;
  REQUIRE(setrlimit(RLIMIT_DATA, &tight) == 0);
  CHECK(usable_memory_bytes() == std::int64_t{300} << 20);
  CHECK(group_memory_bytes() == group);
  setrlimit(RLIMIT_DATA, &before);
}
