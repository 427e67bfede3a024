#include "util/text.h"

#include <doctest/doctest.h>

#include <array>
#include <cstdlib>
#include <limits>

using namespace mixflow;

namespace {

constexpr std::array<std::string_view, 6> kOptimizers = {"sgd",  "momentum", "nesterov",
                                                         "adam", "adamw",    "rmsprop"};

}  // namespace

TEST_CASE("in_quotes escapes what would break a line or a quote") {
  CHECK(in_quotes("fast") == "\"fast\"");
  CHECK(in_quotes("") == "\"\"");
  CHECK(in_quotes("a\"b\\c\n\t") == R"("a\"b\\c\n\t")");
  CHECK(in_quotes(std::string_view("\0\x7f", 2)) == R"("\u0000\u007f")");
  CHECK(in_quotes("caf\xe9") == R"("caf\u00e9")");
  CHECK(in_quotes("caf\xc3\xa9") == "\"caf\xc3\xa9\"");
}

TEST_CASE("in_quotes cuts long text between characters") {
  CHECK(in_quotes("abcdef", 6) == "\"abcdef\"");
  CHECK(in_quotes("abcdefg", 6) == "\"abcdef...\"");
  CHECK(in_quotes("abc\xc3\xa9", 4) == "\"abc...\"");
}

TEST_CASE("what a terminal would act on is made visible, and nothing else is touched") {
  CHECK(visible("a\tb\nc\r\nd \u00e9 \u03b7 \U0001F600") ==
        "a\tb\nc\r\nd \u00e9 \u03b7 \U0001F600");
  CHECK(visible("\033[31mred\007\r\x7f") == "\\u001b[31mred\\u0007\\u000d\\u007f");
  CHECK(visible("\xc2\x9b"
                "31m") == "\\u009b31m");  // CSI as one character
  CHECK(visible("\u202eabc\u2066 \u2028") == "\\u202eabc\\u2066 \\u2028");
  CHECK(visible("\x9b\xff") == "\\x9b\\xff");
  CHECK(visible(std::string_view("\0", 1)) == "\\u0000");
  CHECK(visible_line("a\tb\nc\033") == "a\\tb\\nc\\u001b");
  CHECK(in_quotes("\xc2\x9b\u202e") == "\"\\u009b\\u202e\"");
}

TEST_CASE("number_text is the shortest text that reads back as the same double") {
  CHECK(number_text(0.1) == "0.1");
  CHECK(number_text(1e-8) == "1e-08");
  CHECK(number_text(100) == "100");
  CHECK(number_text(-0.0) == "-0");
  CHECK(number_text(std::numeric_limits<double>::infinity()) == ".inf");
  CHECK(number_text(-std::numeric_limits<double>::infinity()) == "-.inf");
  CHECK(number_text(std::numeric_limits<double>::quiet_NaN()) == ".nan");
  for (const double x : {1.0 / 3, 3.141592653589793, 5e-324, 1.7976931348623157e308, 1e23}) {
    CHECK(std::strtod(number_text(x).c_str(), nullptr) == x);
  }
}

TEST_CASE("split keeps empty parts and join puts them together again") {
  const auto parts = split("a..b", '.');
  REQUIRE(parts.size() == 3);
  CHECK(parts[1].empty());
  CHECK(split("", '.').size() == 1);
  CHECK(join(std::vector<std::string_view>{"a", "b", "c"}, ", ") == "a, b, c");
  CHECK(join(std::vector<std::string>{}, ", ").empty());
}

TEST_CASE("edit_distance counts a swap of neighbours as one") {
  CHECK(edit_distance("steps", "steps") == 0);
  CHECK(edit_distance("stpes", "steps") == 1);
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("abc", "") == 3);
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("ca", "abc") == 3);  // no edit inside a swap, unlike true Damerau-Levenshtein
}

TEST_CASE("nearest finds misspellings and leaves strangers alone") {
  CHECK(nearest("adm", kOptimizers) == "adam");
  CHECK(nearest("Adam", kOptimizers) == "adam");
  CHECK(nearest("adamW", kOptimizers) == "adamw");
  CHECK(nearest("rms-prop", kOptimizers) == "rmsprop");
  CHECK(nearest("momentun", kOptimizers) == "momentum");
  CHECK(nearest("lion", kOptimizers).empty());
  CHECK(nearest("", kOptimizers).empty());
  CHECK(nearest(std::string(100'000, 'a'), kOptimizers).empty());
}

TEST_CASE("first_invalid_utf8 accepts exactly the well-formed characters") {
  CHECK_FALSE(first_invalid_utf8("plain").has_value());
  CHECK_FALSE(first_invalid_utf8("\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80").has_value());
  CHECK(first_invalid_utf8("ab\xff") == 2);
  CHECK(first_invalid_utf8("\xc0\xaf") == 0);          // overlong
  CHECK(first_invalid_utf8("\xe0\x80\x80") == 0);      // overlong
  CHECK(first_invalid_utf8("\xed\xa0\x80") == 0);      // surrogate
  CHECK(first_invalid_utf8("\xf4\x90\x80\x80") == 0);  // beyond U+10FFFF
  CHECK(first_invalid_utf8("x\xe2\x82") == 1);         // cut short
  CHECK(first_invalid_utf8("\x80") == 0);              // continuation alone
}

TEST_CASE("short names are as many last parts as tell keys apart") {
  CHECK(short_names({"inner.steps", "inner.optimizer.lr", "meta.optimizer.lr", "seed"}) ==
        std::vector<std::string>{"steps", "inner.optimizer.lr", "meta.optimizer.lr", "seed"});
  CHECK(short_names({"x", "a.x"}) == std::vector<std::string>{"x", "a.x"});
}
