#include "sweep/combinations.h"

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <set>

#include "../util/testing.h"
#include "util/error.h"

using namespace mixflow;

namespace {

SweepSpec spec_of(const std::string& text) {
  const TemporaryDirectory directory;
  std::ofstream(directory / "base.yaml") << "seed: 1\n";
  std::ofstream(directory / "s.yaml") << "base: base.yaml\n" << text;
  return load_sweep(directory / "s.yaml");
}

Combinations expanded(const SweepSpec& spec) {
  return expand(spec, [](const std::string&) { return Operand{7.0}; });
}

// "a=1 b=2" of each point.
std::vector<std::string> points(const std::string& text) {
  std::vector<std::string> all;
  for (const Settings& settings : expanded(spec_of(text)).points) {
    std::string words;
    for (const Setting& setting : settings) {
      words += (words.empty() ? "" : " ") + setting.key + "=" + flow_text(setting.value);
    }
    all.push_back(words);
  }
  return all;
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("a grid is every combination, the first axis varying slowest, seeds fastest") {
  CHECK(points("grid: {a: [1, 2], b: [x, y]}\nseeds: [3, 4]\n") ==
        Texts{"a=1 b=x seed=3", "a=1 b=x seed=4", "a=1 b=y seed=3", "a=1 b=y seed=4",
              "a=2 b=x seed=3", "a=2 b=x seed=4", "a=2 b=y seed=3", "a=2 b=y seed=4"});
}

TEST_CASE("a zip goes side by side, a list point by point, and blocks multiply") {
  CHECK(points("zip: {a: [1, 2], b: [x, y]}\n") == Texts{"a=1 b=x", "a=2 b=y"});
  CHECK(points("list: [{a: 1, b: 2}, {c: [3, 4]}]\n") == Texts{"a=1 b=2", "c=[3, 4]"});
  CHECK(points("list: {a: [1, 2], b: [3]}\n") == Texts{"a=1", "a=2", "b=3"});
  CHECK(points("grid: {a: [1, 2]}\nzip: {b: [3, 4], c: [5, 6]}\n") ==
        Texts{"a=1 b=3 c=5", "a=1 b=4 c=6", "a=2 b=3 c=5", "a=2 b=4 c=6"});
}

TEST_CASE("conditions leave points out; a key that a point does not set has the base's value") {
  CHECK(points("grid: {a: [1, 2, 3], b: [1, 2, 3]}\nwhen: [a <= b, a * b < 5]\n") ==
        Texts{"a=1 b=1", "a=1 b=2", "a=1 b=3", "a=2 b=2"});
  CHECK(points("list: [{a: 1}, {b: 2}]\nwhen: a == 7\n") == Texts{"b=2"});
  const Combinations some = expanded(spec_of("grid: {a: [1, 2, 3]}\nwhen: a > 1\n"));
  CHECK(some.left_out == 1);
}

TEST_CASE("random axes keep to their laws") {
  const SweepSpec spec = spec_of(
      "random:\n  samples: 2000\n  a: {uniform: [2, 4]}\n  b: {log_uniform: [1e-4, 1]}\n"
      "  inner.steps: {uniform: [1, 3]}\n  meta.batch: {log-uniform: [1, 64]}\n"
      "  c: {choice: [x, y]}\n  d: [5]\n");
  std::size_t below = 0, first = 0;
  std::set<std::string> steps;
  for (const Settings& settings : expanded(spec).points) {
    const double a = std::stod(settings[0].value.text), b = std::stod(settings[1].value.text);
    CHECK((a >= 2 && a <= 4));
    CHECK((b >= 1e-4 && b <= 1));
    below += b < 1e-2;
    steps.insert(settings[2].value.text);
    const double batch = std::stod(settings[3].value.text);
    CHECK((batch >= 1 && batch <= 64 && batch == std::floor(batch)));
    first += settings[4].value.text == "x";
    CHECK(settings[5].value.text == "5");
  }
  CHECK(std::abs(static_cast<double>(below) - 1000) < 100);  // half of the decades; 4.5 deviations
  CHECK(std::abs(static_cast<double>(first) - 1000) < 100);
  CHECK(steps == std::set<std::string>{"1", "2", "3"});
}

TEST_CASE("more samples, other axes and another order leave random draws as they were") {
  const std::string a = "  a: {uniform: [0, 1]}\n", b = "  b: {uniform: [0, 1]}\n";
  const Texts few = points("random:\n  samples: 3\n" + a);
  const Texts more = points("random:\n  samples: 5\n" + a);
  CHECK(Texts(more.begin(), more.begin() + 3) == few);
  const Texts both = points("random:\n  samples: 3\n" + b + a);
  for (std::size_t i = 0; i < few.size(); ++i) CHECK(both[i].ends_with(" " + few[i]));
  CHECK(points("random:\n  samples: 3\n  seed: 2\n" + a) != few);
}

TEST_CASE("a sweep's text says the same however the file was written") {
  const std::string once = spec_text(spec_of("name: s\ngrid: {a: [1, 'x y']}\nwhen: a != 2\n"));
  CHECK(spec_text(spec_of("name: s\nwhen: [a != 2]\ngrid:\n  a:\n  - 1\n  - x y\n")) == once);
  CHECK(spec_text(spec_of("name: s\ngrid: {a: [1, 'x z']}\nwhen: a != 2\n")) != once);
}
