#include "data/episodes.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>

#include "../util/testing.h"
#include "batches.h"
#include "util/error.h"

namespace mixflow {
namespace {

constexpr int kClasses = 20, kPerClass = 12;

// Row r is of class r % 20 and x holds r, so a batch tells rows and true classes.
struct Files {
  TemporaryDirectory directory;
  Config config;

  Files() {
    write_rows(directory / "x.npy", kClasses * kPerClass);
    write_labels(directory / "y.npy", cyclic_labels(kClasses * kPerClass, kClasses));
    config.file = "a.yaml";
    config.origins[""] = config.file;
    config.inner.loss = Loss::cross_entropy;
    EpisodesData data;
    data.x = directory / "x.npy";
    data.y = directory / "y.npy";
    data.ways = 4;
    data.shots = 2;
    data.queries = 3;
    config.data.source = data;
  }
  EpisodesData& data() { return std::get<EpisodesData>(config.data.source); }
  std::unique_ptr<TaskSource> source() const { return make_source(config); }
  std::string refusal() const {
    return message_of<UserError>([&] { source(); });
  }
};

// The true class of each example of a task's batch (`count` per task).
std::vector<int> rows_of(const Numbers& x, std::int64_t task, std::int64_t count) {
  std::vector<int> rows;
  for (std::int64_t i = task * count; i < (task + 1) * count; ++i)
    rows.push_back(static_cast<int>(x[static_cast<std::size_t>(i)]));
  return rows;
}

TEST_CASE("an episode source tells its sizes") {
  const auto source = Files().source();
  CHECK(source->inner_batch() == 8);
  CHECK(source->outer_batch(Split::train) == 12);
  CHECK(source->same_batch_every_step());
  CHECK(source->output_width() == 4);
  CHECK(source->fields()[1].dtype == DType::i32);
}

TEST_CASE("labels come in order, each stands for one class, and no query is in the support") {
  const auto source = Files().source();
  constexpr std::int64_t kTasks = 200;
  const Batches batches = fill(*source, Split::train, 0, kTasks, 7);
  for (std::int64_t task = 0; task < kTasks; ++task) {
    const auto support = rows_of(batches.inner[0], task, 8),
               query = rows_of(batches.outer[0], task, 12);
    std::set<int> rows(support.begin(), support.end()), classes;
    rows.insert(query.begin(), query.end());
    CHECK(rows.size() == 20);
    for (int way = 0; way < 4; ++way) {
      const int true_class = support[static_cast<std::size_t>(2 * way)] % kClasses;
      classes.insert(true_class);
      for (int i = 2 * way; i < 2 * way + 2; ++i) {
        CHECK(support[static_cast<std::size_t>(i)] % kClasses == true_class);
        CHECK(batches.inner[1][static_cast<std::size_t>(task * 8 + i)] == way);
      }
      for (int i = 3 * way; i < 3 * way + 3; ++i) {
        CHECK(query[static_cast<std::size_t>(i)] % kClasses == true_class);
        CHECK(batches.outer[1][static_cast<std::size_t>(task * 12 + i)] == way);
      }
    }
    CHECK(classes.size() == 4);
  }
}

TEST_CASE("classes are shared out 60/20/20 in order, and every class takes every label") {
  const auto source = Files().source();
  const std::map<Split, std::pair<int, int>> expected = {
      {Split::train, {0, 12}}, {Split::validation, {12, 16}}, {Split::test, {16, 20}}};
  for (const auto& [split, range] : expected) {
    std::set<std::pair<int, int>> seen;  // (true class, label)
    const Batches batches = fill(*source, split, 0, 400, 1);
    for (std::size_t i = 0; i < batches.inner[0].size(); ++i) {
      seen.insert({static_cast<int>(batches.inner[0][i]) % kClasses,
                   static_cast<int>(batches.inner[1][i])});
    }
    CHECK(seen.size() == static_cast<std::size_t>(4 * (range.second - range.first)));
    CHECK(seen.begin()->first == range.first);
    CHECK(seen.rbegin()->first == range.second - 1);
  }
}

TEST_CASE("every example of a class is drawn equally often") {
  const auto source = Files().source();
  std::map<int, int> counts;
  const Batches batches =
      fill(*source, Split::test, 0, 6000, 1);  // 4 ways of 4 classes: each class in each task
  for (double x : batches.inner[0]) ++counts[static_cast<int>(x)];
  REQUIRE(counts.size() == 4 * kPerClass);
  for (const auto& [row, count] : counts) CHECK(count == doctest::Approx(1000).epsilon(0.15));
}

TEST_CASE("an episode depends on seed, split, index and its number alone") {
  Files files;
  const auto source = files.source();
  const Batches first = fill(*source, Split::train, 3, 5, 1);
  fill(*source, Split::test, 1, 2, 1);
  const Batches two = fill(*source, Split::train, 3, 2, 1);
  CHECK(std::equal(two.inner[0].begin(), two.inner[0].end(), first.inner[0].begin()));
  CHECK(std::equal(two.outer[0].begin(), two.outer[0].end(), first.outer[0].begin()));
  CHECK(fill(*source, Split::train, 4, 5, 1) != first);
  files.config.seed = 9;
  CHECK(fill(*files.source(), Split::train, 3, 5, 1) != first);
}

TEST_CASE(
    "classes of each split can be listed, and a held-out split without any uses the other's") {
  Files files;
  files.data().train_classes = {19, 1, 3, 5};
  files.data().test_classes = {2, 4, 6, 8};
  const auto source = files.source();
  const auto classes = [&](Split split) {
    std::set<int> found;
    const Batches batches = fill(*source, split, 0, 20, 1);
    for (double x : batches.outer[0]) found.insert(static_cast<int>(x) % kClasses);
    return found;
  };
  CHECK(classes(Split::train) == std::set<int>{1, 3, 5, 19});
  CHECK(classes(Split::test) == std::set<int>{2, 4, 6, 8});
  CHECK(classes(Split::validation) == std::set<int>{2, 4, 6, 8});
}

TEST_CASE("class lists of labels that are other numbers need a rule") {
  Files files;
  std::vector<std::int32_t> labels = cyclic_labels(kClasses * kPerClass, kClasses);
  for (std::int32_t& label : labels) ++label;
  write_labels(files.directory / "y.npy", labels);
  CHECK(files.source()->facts().classes[0].label == "1");
  files.data().train_classes = {1, 2, 3, 4};
  files.data().validation_classes = {5, 6, 7, 20};
  CHECK(files.refusal() ==
        "a.yaml: data.train_classes: lists classes, but which? The file's labels 1, 2, 3, 4, .. 20 "
        "are classes 0, 1, 2, 3, .. 19; set data.labels: exact, where class and label are one "
        "number, or to the list of labels in the order of their numbers");
  files.data().labels = {"exact"};
  const auto source = files.source();
  const Batches batches = fill(*source, Split::train, 0, 1, 1);
  for (const int row : rows_of(batches.inner[0], 0, 8)) CHECK(row % kClasses < 4);
  CHECK(make_schema(files.config)->inner_batch() == source->inner_batch());
}

TEST_CASE("two-way episodes suit bce, with labels as numbers") {
  Files files;
  files.data().ways = 2;
  files.config.inner.loss = Loss::bce;
  const auto source = files.source();
  CHECK(source->output_width() == 1);
  CHECK(source->fields()[1].shape == Shape{1});
  CHECK(fill(*source, Split::train, 0, 1, 1, Precision::f32).inner[1] == Numbers{0, 0, 1, 1});
  files.data().ways = 3;
  CHECK_THROWS_AS(files.source(), InternalError);
}

TEST_CASE("x is scaled by the training classes alone") {
  Files files;
  files.data().normalize = "unit";
  const auto source = files.source();
  // The largest row of classes 0 .. 11 is 231.
  const Batches batches = fill(*source, Split::test, 0, 50, 1);
  const double largest = *std::max_element(batches.inner[0].begin(), batches.inner[0].end());
  CHECK(largest == doctest::Approx(239.0 / 231));
}

TEST_CASE("too few classes or examples and wrong lists are refused with the numbers") {
  Files files;
  files.data().ways = 5;
  CHECK(files.refusal() ==
        "a.yaml: data.ways: 5 ways, but the validation split has 4 of the 20 classes; lower it, or "
        "set "
        "data.train_classes, data.validation_classes and data.test_classes");
  files.data().ways = 4;
  files.data().shots = 10;
  CHECK(files.refusal() ==
        files.data().y +
            ": class 0 has 12 examples, but data.shots and data.queries ask for 10 + 3");
  files.data().shots = 0;
  CHECK_THROWS_AS(files.source(), InternalError);
  files.data().shots = 1;
  files.data().train_classes = {1, 2, 3, 20};
  CHECK(files.refusal() ==
        "a.yaml: data.train_classes: class 20 does not exist: the data has 0 .. 19");
  files.data().train_classes.clear();
  files.config.inner.loss = Loss::mse;
  CHECK_THROWS_AS(files.source(), InternalError);
}

}  // namespace
}  // namespace mixflow
