#include "data/facts.h"

#include <doctest/doctest.h>

#include "util/error.h"

namespace mixflow {
namespace {

DataFacts example() {
  return {.files = {{"data/x.npy", "uint8[70000,28,28]", 54'880'128},
                    {"data/y.npy", "int64[70000]", 560'128}},
          .splits = {{"train", 42'000, "rows"},
                     {"validation", 14'000, "rows"},
                     {"test", 14'000, "rows"}},
          .classes = {{"1", 7'000}, {"2", 7'001}},
          .ranges = {{"x", 0, 255}},
          .notes = {"labels 1, 2 are classes 0, 1"},
          .warnings = {"x goes from 0 to 255"}};
}

TEST_CASE("what was read fits on two lines of a terminal") {
  CHECK(to_lines(example()) ==
        std::vector<std::string>{
            "Data: x.npy uint8[70000,28,28], y.npy int64[70000]",
            "  train 42000, validation 14000, test 14000 rows, 2 classes of 7000 to 7001,",
            "  x from 0 to 255"});
  DataFacts many;
  for (int i = 0; i < 5; ++i) many.files.push_back({"f" + std::to_string(i), "bytes", 1});
  CHECK(to_lines(many)[0] == "Data: f0 bytes, f1 bytes, f2 bytes, 2 more files");
  CHECK(to_lines({}).empty());
}

TEST_CASE("names of files cannot reach the terminal as they are") {
  DataFacts facts;
  facts.files.push_back({"a\x1b[31m.npy", "bytes", 1});
  CHECK(to_lines(facts)[0].find('\x1b') == std::string::npos);
}

TEST_CASE("facts go to JSON and back") {
  const DataFacts back = parse_facts(to_json(example()));
  CHECK(to_json(back) == to_json(example()));
  CHECK(back.files[0].bytes == 54'880'128);
  CHECK(back.classes[1].rows == 7'001);
  CHECK(to_json(parse_facts(to_json(DataFacts{}))) == "{}");
  CHECK_THROWS_AS(parse_facts("[1"), UserError);
  CHECK_THROWS_AS(parse_facts("{\"files\": [{}]}"), UserError);
}

}  // namespace
}  // namespace mixflow
