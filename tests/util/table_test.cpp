#include "util/table.h"

#include <doctest/doctest.h>

using namespace mixflow;

TEST_CASE("tables align words at the left, numbers at the right, and end no line in spaces") {
  CHECK(aligned_table({{"name", "n"}, {"a", "100"}, {"longer", "2"}}, 1) ==
        "name      n\n"
        "a       100\n"
        "longer    2\n");
  CHECK(aligned_table({{"a", "b"}, {"1", "-"}}, 2) == "a  b\n1  -\n");
}

TEST_CASE("a cell beyond the header is a remark at the end of its line") {
  CHECK(aligned_table({{"a", "b"}, {"1", "2"}, {"3", "44", "too large"}}, 0) ==
        "a   b\n"
        "1   2\n"
        "3  44  too large\n");
  CHECK(aligned_table({}, 0).empty());
}

TEST_CASE("control characters in cells are shown and counted as they are shown") {
  CHECK(aligned_table({{"a", "b"}, {"\033[2J", "1"}, {"x\ny", "22"}}, 1) ==
        "a           b\n\\u001b[2J   1\nx\\ny       22\n");
}
