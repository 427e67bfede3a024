#include "data/labels.h"

#include <doctest/doctest.h>

#include "../util/testing.h"
#include "batches.h"
#include "util/error.h"

namespace mixflow {
namespace {

using Texts = std::vector<std::string>;
using Codes = std::vector<std::int32_t>;

Array numbers(const Numbers& values) {
  return number_array("y.npy", {static_cast<std::int64_t>(values.size())}, values);
}
Array texts(const Texts& values) {
  TextColumn column;
  for (const std::string& value : values) column.add(value);
  return column.finish("y.csv:kind");
}
Labels read(const Array& y, const Texts& rule = {"auto"}) {
  return read_labels(y, rule, "a.yaml: data.labels");
}
std::string refusal(const Array& y, const Texts& rule = {"auto"}) {
  return message_of<UserError>([&] { read(y, rule); });
}
Texts names(const Labels& labels) {
  Texts all;
  for (const DataFacts::Class& one : labels.classes) all.push_back(one.label);
  return all;
}

TEST_CASE("labels 0 .. C-1 are their classes, and nothing is said of it") {
  const Labels labels = read(numbers({0, 2, 1, 2}));
  CHECK(labels.count() == 3);
  CHECK(labels.of_row == Codes{0, 2, 1, 2});
  CHECK(labels.classes[2].rows == 2);
  CHECK_FALSE(labels.renumbered);
  CHECK(labels.note().empty());
}

TEST_CASE("whole numbers from anywhere become classes in their order") {
  const Labels from_one = read(numbers({3, 1, 2, 1}));
  CHECK(from_one.of_row == Codes{2, 0, 1, 0});
  CHECK(from_one.note() == "labels 1, 2, 3 are classes 0, 1, 2");
  CHECK(read(numbers({1, -1, -1})).of_row == Codes{1, 0, 0});
  const Labels gaps = read(numbers({5, 0, 2}));
  CHECK(gaps.of_row == Codes{2, 0, 1});
  CHECK(names(gaps) == Texts{"0", "2", "5"});
  CHECK(read(numbers({10, 9})).of_row == Codes{1, 0});
}

TEST_CASE("truths and float labels that are whole are labels like others") {
  const TemporaryDirectory d;
  write_atomically(d / "b.npy", npy("|b1", "(3,)", std::string("\1\0\1", 3)));
  write_atomically(d / "f.npy", npy("<f4", "(3, 1)", raw<float>({2, 7, 2})));
  CHECK(read(read_array(d / "b.npy")).of_row == Codes{1, 0, 1});
  CHECK(read(read_array(d / "f.npy")).of_row == Codes{0, 1, 0});
}

TEST_CASE("texts become classes by alphabet, numbers in quotes by size") {
  const Labels labels = read(texts({"dog", "cat", "dog", "ant"}));
  CHECK(names(labels) == Texts{"ant", "cat", "dog"});
  CHECK(labels.of_row == Codes{2, 1, 2, 0});
  CHECK(labels.classes[2].rows == 2);
  CHECK(labels.note() == "labels \"ant\", \"cat\", \"dog\" are classes 0, 1, 2");
  CHECK(names(read(texts({"10", "9", "-1"}))) == Texts{"-1", "9", "10"});
  const Labels many = read(texts({"a", "b", "c", "d", "e", "f"}));
  CHECK(many.note() == "labels \"a\", \"b\", \"c\", \"d\", .. \"f\" are classes 0, 1, 2, 3, .. 5");
}

TEST_CASE("one-hot rows are the columns of their ones") {
  const Array y = number_array("y.npy", {3, 3}, {0, 0, 1, 1, 0, 0, 0, 0, 1});
  const Labels labels = read(y);
  CHECK(labels.of_row == Codes{2, 0, 2});
  CHECK(labels.count() == 3);
  CHECK(labels.classes[1].rows == 0);
  CHECK(refusal(number_array("y.npy", {2, 2}, {0, 1, 0.5, 0.5})) ==
        "y.npy: row 1 (from 0) of number[2,2] is not one-hot (a single 1, else 0); expected one "
        "label per example: [examples], or one-hot rows");
  CHECK_THROWS_AS(read(number_array("y.npy", {2, 2}, {1, 1, 0, 1})), UserError);
  CHECK_THROWS_AS(read(number_array("y.npy", {2, 2}, {0, 0, 0, 1})), UserError);
}

TEST_CASE("exact takes a label for the number of its class") {
  const Labels labels = read(numbers({5, 2}), {"exact"});
  CHECK(labels.of_row == Codes{5, 2});
  CHECK(labels.count() == 6);
  CHECK(labels.classes[0].rows == 0);
  CHECK_FALSE(labels.renumbered);
  CHECK(refusal(numbers({0, -1}), {"exact"}) ==
        "a.yaml: data.labels: exact, but row 1 (from 0) of y.npy has label -1; expected whole "
        "numbers from 0. auto numbers the labels that occur");
  CHECK_THROWS_AS(read(texts({"a", "b"}), {"exact"}), UserError);
}

TEST_CASE("a list gives the classes in its order") {
  const Labels labels = read(texts({"no", "yes", "no"}), {"yes", "no", "maybe"});
  CHECK(labels.of_row == Codes{1, 0, 1});
  CHECK(labels.count() == 3);
  CHECK(labels.note() == "labels \"yes\", \"no\", \"maybe\" are classes 0, 1, 2");
  CHECK(read(numbers({-1, 1}), {"1", "-1.0"}).of_row == Codes{1, 0});
  CHECK(refusal(numbers({1, 4}), {"1", "2"}) ==
        "a.yaml: data.labels: row 1 (from 0) of y.npy has label 4, which is not listed; add it, or "
        "set data.labels: auto");
  CHECK(refusal(numbers({1, 2}), {"1", "2", "1"}) == "a.yaml: data.labels: lists 1 twice");
}

TEST_CASE("what is no set of labels is refused with its row") {
  CHECK(refusal(numbers({0, 0.5})) ==
        "y.npy: row 1 (from 0) has label 0.5, which is no class: expected whole numbers, texts or "
        "one-hot rows. Targets that are quantities go with data.target: regression");
  CHECK(refusal(numbers({0, 1e300})).starts_with("y.npy: row 1 (from 0) has label 1e+300"));
  CHECK(refusal(numbers({7, 7})) == "y.npy: every label is 7: expected at least two classes");
  Numbers own;
  for (int i = 0; i < 20; ++i) own.push_back(3 * i);
  CHECK(refusal(numbers(own)) ==
        "y.npy: each of its 20 rows has a label of its own, so these are no classes; name another "
        "file or column, or set data.target: regression");
}

}  // namespace
}  // namespace mixflow
