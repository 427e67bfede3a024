#include "data/tabular.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>

#include "../util/testing.h"
#include "batches.h"
#include "util/error.h"

namespace mixflow {
namespace {

// Ten classes over `rows` rows; x holds the row's number.
struct TabularFiles {
  TemporaryDirectory directory;
  Config config;

  explicit TabularFiles(int rows = 100, int classes = 10) {
    write_rows(directory / "x.npy", rows, 2);
    write_labels(directory / "y.npy", cyclic_labels(rows, classes));
    config.file = "a.yaml";
    config.origins[""] = config.file;
    config.inner.loss = Loss::cross_entropy;
    TabularData data;
    data.x = directory / "x.npy";
    data.y = directory / "y.npy";
    config.data.source = data;
  }
  TabularData& data() { return std::get<TabularData>(config.data.source); }
  std::unique_ptr<TaskSource> source() const { return make_source(config); }
  std::string refusal() const {
    return message_of<UserError>([&] { source(); });
  }
};

// The rows of a batch, from the first of x's two columns.
std::vector<int> rows_of(const Numbers& x) {
  std::vector<int> rows;
  for (std::size_t i = 0; i < x.size(); i += 2) {
    CHECK(x[i] == -x[i + 1]);
    rows.push_back(static_cast<int>(x[i]));
  }
  return rows;
}
std::set<int> distinct(const std::vector<int>& rows) { return {rows.begin(), rows.end()}; }

TEST_CASE("splits have their shares, are disjoint and cover all rows") {
  TabularFiles files;
  files.data().validation = 0.3;
  files.data().test = 0.1;
  const auto source = files.source();
  CHECK(source->inner_batch() == 60);
  CHECK(source->outer_batch(Split::train) == 30);
  CHECK(source->outer_batch(Split::validation) == 30);
  CHECK(source->outer_batch(Split::test) == 10);
  CHECK(source->same_batch_every_step());
  CHECK(source->output_width() == 10);
  const Batches train = fill(*source, Split::train, 0, 1, 5),
                test = fill(*source, Split::test, 0, 1, 5);
  std::set<int> all = distinct(rows_of(train.inner[0]));
  CHECK(all.size() == 60);
  CHECK(distinct(rows_of(test.inner[0])) == all);
  for (const auto& x : {train.outer[0], test.outer[0]}) {
    for (int row : rows_of(x)) CHECK(all.insert(row).second);
  }
  CHECK(all.size() == 100);
  CHECK(fill(*source, Split::validation, 0, 1, 5).outer == train.outer);
}

TEST_CASE("the split is random by the seed, or ordered as the rows come") {
  TabularFiles files;
  const auto first = fill(*files.source(), Split::train, 0, 1, 1);
  CHECK(fill(*files.source(), Split::train, 0, 1, 1) == first);
  files.config.seed = 2;
  CHECK(distinct(rows_of(fill(*files.source(), Split::train, 0, 1, 1).inner[0])) !=
        distinct(rows_of(first.inner[0])));
  files.data().split = "ordered";
  const Batches ordered = fill(*files.source(), Split::test, 0, 1, 1);
  CHECK(rows_of(ordered.inner[0]).front() == 0);
  CHECK(rows_of(ordered.inner[0]).back() == 59);
  CHECK(rows_of(ordered.outer[0]).front() == 80);
}

TEST_CASE("every example keeps its label") {
  TabularFiles files;
  files.data().batch = 7;
  files.data().outer_batch = 3;
  const Batches batches = fill(*files.source(), Split::train, 3, 4, 9);
  for (const auto& fields : {batches.inner, batches.outer}) {
    const auto rows = rows_of(fields[0]);
    REQUIRE(rows.size() == fields[1].size());
    for (std::size_t i = 0; i < rows.size(); ++i) CHECK(fields[1][i] == rows[i] % 10);
  }
}

TEST_CASE(
    "small batches pass over the training split in epochs, without repeating a row within one") {
  TabularFiles files;
  files.data().batch = 7;  // 60 rows: 8 batches per epoch, 4 rows left out
  const auto source = files.source();
  CHECK_FALSE(source->same_batch_every_step());
  constexpr int kSteps = 20;
  const auto rows = rows_of(fill(*source, Split::train, 0, 1, kSteps).inner[0]);
  REQUIRE(rows.size() == kSteps * 7);
  for (int epoch = 0; epoch < 2; ++epoch) {
    CHECK(distinct({rows.begin() + epoch * 56, rows.begin() + (epoch + 1) * 56}).size() == 56);
  }
  CHECK(std::vector(rows.begin(), rows.begin() + 56) !=
        std::vector(rows.begin() + 56, rows.begin() + 112));
}

TEST_CASE("batches depend on seed, split, index and task alone; more steps only add batches") {
  TabularFiles files;
  files.data().batch = 7;
  files.data().outer_batch = 5;
  const auto source = files.source();
  const Batches long_run = fill(*source, Split::train, 4, 1, 30);
  fill(*source, Split::test, 0, 2, 3);
  const Batches again = fill(*source, Split::train, 4, 3, 10);
  CHECK(std::equal(again.inner[0].begin(), again.inner[0].begin() + 10 * 7 * 2,
                   long_run.inner[0].begin()));
  CHECK(std::equal(long_run.outer[0].begin(), long_run.outer[0].end(), again.outer[0].begin()));
  // Task 1 sees other batches than task 0, index 5 others than index 4, evaluation others than
  // training.
  const auto task_rows = [&](const Batches& batches, int task) {
    const auto rows = rows_of(batches.inner[0]);
    return std::vector(rows.begin() + task * 70, rows.begin() + (task + 1) * 70);
  };
  CHECK(task_rows(again, 0) != task_rows(again, 1));
  CHECK(fill(*source, Split::train, 5, 3, 10).inner != again.inner);
  CHECK(fill(*source, Split::test, 4, 3, 10).inner != again.inner);
}

TEST_CASE("small outer batches come from the validation split and reach all of it") {
  TabularFiles files;
  files.data().outer_batch = 5;
  const auto source = files.source();
  const auto validation = distinct(rows_of(fill(*source, Split::validation, 0, 1, 1).outer[0]));
  CHECK(validation.size() == 20);
  std::map<int, int> seen;
  for (std::uint64_t index = 0; index < 400; ++index) {
    const auto rows = rows_of(fill(*source, Split::train, index, 1, 1).outer[0]);
    CHECK(distinct(rows).size() == 5);
    for (int row : rows) ++seen[row];
  }
  CHECK(seen.size() == 20);
  for (const auto& [row, count] : seen) {
    CHECK(validation.contains(row));
    CHECK(count > 50);  // 100 expected
    CHECK(count < 150);
  }
}

TEST_CASE("without a test share, evaluation uses the validation split") {
  TabularFiles files;
  files.data().test = 0;
  const auto source = files.source();
  CHECK(source->outer_batch(Split::test) == 20);
  CHECK(fill(*source, Split::test, 0, 1, 1).outer ==
        fill(*source, Split::validation, 0, 1, 1).outer);
}

TEST_CASE("labels are integers for cross_entropy, numbers in a column for bce") {
  TabularFiles files(100, 2);
  Field y = files.source()->fields()[1];
  CHECK(y.dtype == DType::i32);
  CHECK(y.shape == Shape{});
  CHECK(files.source()->output_width() == 2);
  files.config.inner.loss = Loss::bce;
  const auto source = files.source();
  y = source->fields()[1];
  CHECK(y.dtype == DType::f32);
  CHECK(y.shape == Shape{1});
  CHECK(source->output_width() == 1);
  for (Precision precision : {Precision::f32, Precision::f64}) {
    const Batches batches = fill(*source, Split::train, 0, 1, 1, precision);
    const auto rows = rows_of(batches.inner[0]);
    for (std::size_t i = 0; i < rows.size(); ++i) CHECK(batches.inner[1][i] == rows[i] % 2);
  }
}

TEST_CASE("images keep their axes in the batch's shape") {
  TabularFiles files(20, 2);
  write_atomically(files.directory / "x.npy", npy("|u1", "(20, 2, 3, 1)", std::string(120, '\7')));
  CHECK(files.source()->fields()[0].shape == Shape{2, 3, 1});
  CHECK(make_schema(files.config)->fields()[0].shape == Shape{2, 3, 1});
}

TEST_CASE("a schema says of batches what the source does, from shapes and labels alone") {
  TabularFiles files;
  files.data().batch = 7;
  files.data().outer_batch = 5;
  const auto source = files.source();
  // The numbers of x are not looked at.
  write_atomically(files.directory / "x.npy", npy("<f4", "(100, 2)", std::string(800, '\xff')));
  CHECK_THROWS_AS(files.source(), UserError);
  const auto schema = make_schema(files.config);
  for (const Split split : {Split::train, Split::validation, Split::test}) {
    CHECK(schema->outer_batch(split) == source->outer_batch(split));
  }
  CHECK(schema->inner_batch() == source->inner_batch());
  CHECK(schema->same_batch_every_step() == source->same_batch_every_step());
  CHECK(schema->output_width() == source->output_width());
  CHECK(schema->watched_split() == source->watched_split());
  CHECK(schema->memory().held_bytes == source->memory().held_bytes);
  // Mapped files are not the process's own; rows of splits are.
  CHECK(schema->memory().held_bytes == 100 * 5 * 8);
}

TEST_CASE("what was read is told: files, splits, classes and ranges") {
  TabularFiles files(100, 4);
  const DataFacts facts = files.source()->facts();
  REQUIRE(facts.files.size() == 2);
  CHECK(facts.files[0].path == files.data().x);
  CHECK(facts.files[0].content == "float32[100,2]");
  CHECK(facts.files[1].content == "int32[100]");
  REQUIRE(facts.splits.size() == 3);
  CHECK(facts.splits[0].count == 60);
  REQUIRE(facts.classes.size() == 4);
  CHECK(facts.classes[3].rows == 25);
  CHECK(facts.ranges[0].smallest == -99);
  CHECK(facts.ranges[0].largest == 99);
  CHECK(facts.notes.empty());
  CHECK(facts.warnings.empty());
}

TEST_CASE("labels that are other numbers are mapped, and the mapping is told") {
  TabularFiles files(100, 2);
  std::vector<std::int32_t> signs;
  for (int row = 0; row < 100; ++row) signs.push_back(row % 2 == 0 ? -1 : 1);
  write_labels(files.directory / "y.npy", signs);
  files.config.inner.loss = Loss::bce;
  const auto source = files.source();
  const Batches batches = fill(*source, Split::train, 0, 1, 1);
  const auto rows = rows_of(batches.inner[0]);
  for (std::size_t i = 0; i < rows.size(); ++i) CHECK(batches.inner[1][i] == rows[i] % 2);
  CHECK(source->facts().notes == std::vector<std::string>{"labels -1, 1 are classes 0, 1"});
  files.data().labels = {"1", "-1"};
  CHECK(fill(*files.source(), Split::train, 0, 1, 1).inner[1][0] == 1 - batches.inner[1][0]);
}

TEST_CASE("a file that is sorted by label and split in order is warned of") {
  TabularFiles files(100, 2);
  std::vector<std::int32_t> sorted(100, 0);
  std::fill(sorted.begin() + 70, sorted.end(), 1);
  write_labels(files.directory / "y.npy", sorted);
  CHECK(files.source()->facts().warnings.empty());
  files.data().split = "ordered";
  CHECK(files.source()->facts().warnings ==
        std::vector<std::string>{"label \"1\" has no row in the training split: the file seems to "
                                 "be sorted by label; set data.split: random"});
  // Of two halves the training rows have both labels, and the held-out rows one.
  std::fill(sorted.begin() + 50, sorted.end(), 1);
  write_labels(files.directory / "y.npy", sorted);
  CHECK(files.source()->facts().warnings ==
        std::vector<std::string>{"the validation split has label \"1\" alone: the file seems to be "
                                 "sorted by label; set data.split: random"});
  // Of the test rows alone.
  sorted[65] = 0;
  std::fill(sorted.begin() + 60, sorted.begin() + 65, 0);
  write_labels(files.directory / "y.npy", sorted);
  CHECK(files.source()->facts().warnings ==
        std::vector<std::string>{"the test split has label \"1\" alone: the file seems to be "
                                 "sorted by label; set data.split: random"});
  files.data().split = "random";
  CHECK(files.source()->facts().warnings.empty());
}

TEST_CASE("images of 0 .. 255 that are not scaled are warned of") {
  TabularFiles files(20, 2);
  std::string pixels(120, '\7');
  pixels[5] = '\xff';
  write_atomically(files.directory / "x.npy", npy("|u1", "(20, 6)", pixels));
  CHECK(files.source()->facts().warnings ==
        std::vector<std::string>{"x goes from 7 to 255 and is not scaled, so inner steps may "
                                 "diverge; data.normalize: unit divides by the largest"});
  files.data().normalize = "unit";
  CHECK(files.source()->facts().warnings.empty());
}

TEST_CASE("regression targets keep all their columns") {
  TabularFiles files;
  write_rows(files.directory / "targets.npy", 100, 3);
  files.data().y = files.directory / "targets.npy";
  files.data().target = Target::regression;
  files.config.inner.loss = Loss::mse;
  const auto source = files.source();
  CHECK(source->output_width() == 3);
  CHECK(source->fields()[1].shape == Shape{3});
  const Batches batches = fill(*source, Split::train, 0, 2, 1, Precision::f32);
  const auto rows = rows_of(batches.inner[0]);
  REQUIRE(batches.inner[1].size() == 3 * rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    CHECK(batches.inner[1][3 * i] == rows[i]);
    CHECK(batches.inner[1][3 * i + 1] == -rows[i]);
  }
}

TEST_CASE("shares and batches that the rows are too few for are refused") {
  TabularFiles files;
  files.data().batch = 61;
  CHECK(files.refusal() ==
        "a.yaml: data.batch: 61 examples asked for, but the training split has 60; 0 takes all of "
        "them");
  files.data().batch = 0;
  files.data().outer_batch = 21;
  CHECK(files.refusal() ==
        "a.yaml: data.outer_batch: 21 examples asked for, but the validation split has 20; 0 takes "
        "all of them");
  files.data().outer_batch = 0;
  files.data().test = 0.001;
  CHECK(files.refusal() ==
        "a.yaml: data.validation and data.test: 100 rows are too few: the split gives 80 for "
        "training, 20 for "
        "validation, 0 for test");
  files.data().test = 0.8;
  CHECK(files.refusal().starts_with("a.yaml: data.validation and data.test: 100 rows are too few"));
}

TEST_CASE("targets that do not fit the loss are refused") {
  TabularFiles files;
  files.config.inner.loss = Loss::mse;
  CHECK_THROWS_AS(files.source(), InternalError);
  files.config.inner.loss = Loss::bce;
  CHECK(files.refusal() == "a.yaml: inner.loss: bce expects two classes, " + files.data().y +
                               " has 10; use cross_entropy");
  files.config.inner.loss = Loss::cross_entropy;
  files.data().target = Target::regression;
  CHECK_THROWS_AS(files.source(), InternalError);
}

TEST_CASE("whole splits are one task; without a test share the final split is validation") {
  TabularFiles files;
  const auto whole = files.source();
  CHECK(whole->one_task(Split::train));
  CHECK(whole->one_task(Split::test));
  CHECK(whole->final_split() == Split::test);
  files.data().batch = 10;
  files.data().test = 0;
  const auto batches = files.source();
  CHECK_FALSE(batches->one_task(Split::test));
  CHECK(batches->one_outer_batch(Split::test));
  CHECK(batches->one_outer_batch(Split::train));
  CHECK(batches->final_split() == Split::validation);
  CHECK(batches->trains_on_validation());
  files.data().outer_batch = 5;
  CHECK_FALSE(files.source()->one_outer_batch(Split::train));
}

}  // namespace
}  // namespace mixflow
