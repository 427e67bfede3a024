#include "config/over.h"

#include <doctest/doctest.h>

#include "config_texts.h"
#include "util/error.h"

using namespace mixflow;

namespace {

std::string all_of(const std::vector<std::string>& lists) {
  std::string text;
  for (const KeyValues& settings : combinations(lists)) text += to_text(settings) + "\n";
  return text;
}

std::string refusal(const std::vector<std::string>& lists) {
  try {
    combinations(lists);
  } catch (const UserError& error) {
    return error.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("lists make every combination, the first list varying slowest") {
  CHECK(all_of({"a.b=1,2", "c=x,y,z"}) ==
        "a.b=1 c=x\na.b=1 c=y\na.b=1 c=z\na.b=2 c=x\na.b=2 c=y\na.b=2 c=z\n");
  CHECK(all_of({"a= 1 , 2 "}) == "a=1\na=2\n");
  CHECK(all_of({"a=1,1"}) == "a=1\na=1\n");
}

TEST_CASE("no list is one combination without settings") {
  REQUIRE(combinations({}).size() == 1);
  CHECK(combinations({}).front().empty());
}

TEST_CASE("commas in brackets, braces and quotes do not split a list") {
  CHECK(all_of({"r={step: true, block: false},{step: false}"}) ==
        "r={step: true, block: false}\nr={step: false}\n");
  CHECK(all_of({"h=[8, 8],[[1, 2], {k: [3, 4]}]"}) == "h=[8, 8]\nh=[[1, 2], {k: [3, 4]}]\n");
  CHECK(all_of({R"(n="a,b",'c,]d',"e\",f")"}) == "n=\"a,b\"\nn='c,]d'\nn=\"e\\\",f\"\n");
  CHECK(all_of({"a=b=c,d"}) == "a=b=c\na=d\n");
}

TEST_CASE("what is no list of values is refused with its text") {
  const std::string expected =
      ": expected key.path=value,value,.., such as --over inner.steps=2,4,8";
  CHECK(refusal({"inner.steps"}) == "--over inner.steps" + expected);
  CHECK(refusal({"=1,2"}) == "--over =1,2" + expected);
  CHECK(refusal({"a=1,,2"}) == "--over a=1,,2: value 2 is empty; write null for no value");
  CHECK(refusal({"a="}) == "--over a=: value 1 is empty; write null for no value");
  CHECK(refusal({"a={b: 1,{c: 2}"}) == "--over a={b: 1,{c: 2}: a closing } is missing");
  CHECK(refusal({"a=\"1,2"}) == "--over a=\"1,2: a closing \" is missing");
  CHECK(refusal({"a=[1}]"}) == "--over a=[1}]: a } closes nothing");
  CHECK(refusal({"a=1", "a=2"}) ==
        "--over a=2: a has a list already; write all its values into one");
  const std::string long_list = "=1,1,1,1,1,1,1,1,1,1";
  std::vector<std::string> lists;
  for (const char* key : {"a", "b", "c", "d", "e"}) lists.push_back(key + long_list);
  CHECK(combinations(lists).size() == kMostCombinations);
  lists.emplace_back("f=1,2");
  CHECK(refusal(lists) ==
        "--over f=1,2: expected at most 100000 combinations, got more; use fewer values");
}

TEST_CASE("an error inside a combination says which it was, one without settings stays as it is") {
  const auto message = [](const KeyValues& settings) -> std::string {
    try {
      in_combination(settings, []() -> int { throw UserError("c.yaml: wrong"); });
    } catch (const UserError& error) {
      return error.what();
    }
    return "";
  };
  CHECK(message({{"a", "1"}, {"b", "2"}}) == "combination a=1 b=2: c.yaml: wrong");
  CHECK(message({}) == "c.yaml: wrong");
  CHECK_THROWS_AS(in_combination({{"a", "1"}}, []() -> int { throw RunError("no memory"); }),
                  RunError);
}
