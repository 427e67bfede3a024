#include "data/csv.h"

#include <doctest/doctest.h>

#include "../util/testing.h"
#include "util/error.h"

namespace mixflow {
namespace {

using Numbers = std::vector<double>;

std::string refusal(std::string_view text) {
  return message_of<UserError>([&] { parse_csv(text, "t.csv"); });
}

TEST_CASE("a table without a header is all numbers") {
  const CsvTable table = parse_csv("1,2.5,-3e2\n4,+5, 6 \n", "t.csv");
  CHECK(table.header.empty());
  CHECK(table.numbers.type() == "number[2,3]");
  CHECK(values_of(table.numbers) == Numbers{1, 2.5, -300, 4, 5, 6});
}

TEST_CASE("a first row without numbers is a header, quoted or not") {
  const CsvTable table = parse_csv("width, height ,\"a \"\"b\"\",\nc\"\n1,2,3\n", "t.csv");
  CHECK(table.header == std::vector<std::string>{"width", "height", "a \"b\",\nc"});
  CHECK(values_of(table.numbers) == Numbers{1, 2, 3});
}

TEST_CASE("a first row with numbers is a header if it holds the name asked for") {
  CHECK(parse_csv("0,1,target\n5,6,7\n", "t.csv", "target").header ==
        std::vector<std::string>{"0", "1", "target"});
  CHECK(refusal("0,1,target\n5,6,7\n") == "t.csv:1:5: expected a number, found \"target\"");
}

TEST_CASE(
    "CRLF, a byte-order mark, blank lines, quoted numbers and a missing last newline are fine") {
  const CsvTable table = parse_csv(
      "\xEF\xBB\xBF"
      "a,b\r\n\r\n\"1\",2\r\n  \r\n3,\"4\"",
      "t.csv");
  CHECK(table.header == std::vector<std::string>{"a", "b"});
  CHECK(values_of(table.numbers) == Numbers{1, 2, 3, 4});
}

TEST_CASE("a bad cell is named by file, line and column") {
  CHECK(refusal("a,b\n1,2\n3,x7\n") == "t.csv:3:3: expected a number, found \"x7\"");
  CHECK(refusal("1,2\n3,\n") == "t.csv:2:3: expected a number, found an empty cell");
  CHECK(refusal("1,2\n3,4 5\n") == "t.csv:2:3: expected a number, found \"4 5\"");
  CHECK(refusal("1,2\n3,1e999\n") == "t.csv:2:3: expected a number, found \"1e999\"");
  CHECK(refusal("1,2\n nan,4\n") == "t.csv:2:1: every value must be finite, found  nan");
  CHECK(refusal("1,2\n3,inf\n") == "t.csv:2:3: every value must be finite, found inf");
  CHECK(refusal("\"a\nb\",c\n1,x\n") == "t.csv:3:3: expected a number, found \"x\"");
}

TEST_CASE("rows of another length, open quotes and tables without rows are refused") {
  CHECK(refusal("a,b\n1,2\n3\n") == "t.csv:3:1: 1 cells, expected 2 as in line 1");
  CHECK(refusal("1,2\n3,\"4\n5,6\n") == "t.csv:2:3: this quote is never closed");
  CHECK(refusal("1,2\n\"3\"x,4\n") == "t.csv:2:4: expected a comma after the closing quote");
  CHECK(refusal("a,b\n") == "t.csv: holds no rows of numbers");
  CHECK(refusal("") == "t.csv: holds no rows of numbers");
}

}  // namespace
}  // namespace mixflow
