#include "data/episodes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>

#include "config/load.h"
#include "data/dataset.h"
#include "data/labels.h"
#include "data/split.h"
#include "util/error.h"
#include "util/rng.h"
#include "util/text.h"

namespace mixflow {

namespace {

using Classes = std::vector<int>;

struct ClassSplit {
  Classes train, validation, test;
};

// Without lists in the config: classes that have rows, in order, 60 % for training, 20 % each for
// validation and test.
ClassSplit share_out(const Labels& labels) {
  Classes all;
  for (int c = 0; c < labels.count(); ++c) {
    if (labels.classes[static_cast<std::size_t>(c)].rows > 0) all.push_back(c);
  }
  const auto count = static_cast<double>(all.size());
  const auto train = std::lround(0.6 * count), held_out = std::lround(0.2 * count);
  const auto first = all.begin();
  return {{first, first + train},
          {first + train, first + train + held_out},
          {first + train + held_out, all.end()}};
}

// Lists name classes by number. Where labels are other numbers, either may be meant.
void check_names(const EpisodesData& data, const Labels& labels, const Config& config) {
  if (!labels.renumbered || data.labels != std::vector<std::string>{"auto"}) return;
  throw UserError(origin(config, "data.train_classes") + ": lists classes, but which? The file's " +
                  labels.note() +
                  "; set data.labels: exact, where class and label are one number, or to the list "
                  "of labels in the order of their numbers");
}

ClassSplit split_classes(const EpisodesData& data, const Labels& labels, const Config& config) {
  if (data.train_classes.empty() && data.validation_classes.empty() && data.test_classes.empty()) {
    return share_out(labels);
  }
  check_names(data, labels, config);
  for (const auto& [list, key] : {std::pair(&data.train_classes, "train_classes"),
                                  std::pair(&data.validation_classes, "validation_classes"),
                                  std::pair(&data.test_classes, "test_classes")}) {
    for (int c : *list) {
      if (c >= 0 && c < labels.count()) continue;
      throw UserError(origin(config, std::string("data.") + key) + ": class " + std::to_string(c) +
                      " does not exist: the data has 0 .. " + std::to_string(labels.count() - 1));
    }
  }
  ClassSplit split{data.train_classes, data.validation_classes, data.test_classes};
  if (split.validation.empty()) split.validation = split.test;
  if (split.test.empty()) split.test = split.validation;
  return split;
}

// What tasks look like, checked against the classes and their rows.
class EpisodesSchema final : public DataSchema {
 public:
  EpisodesSchema(const ArraySchema& x, const ArraySchema& y, const Labels& labels,
                 const EpisodesData& data, const Config& config)
      : loss_(config.inner.loss),
        ways_(data.ways),
        shots_(data.shots),
        queries_(data.queries),
        example_(x.shape.begin() + 1, x.shape.end()) {
    MIXFLOW_CHECK(shots_ >= 1 && queries_ >= 1 && loss_ != Loss::mse &&
                      (loss_ == Loss::bce ? ways_ == 2 : ways_ >= 2),
                  "the loader lets no other counts and losses pass");
    split_ = split_classes(data, labels, config);
    has_test_ = !data.test_classes.empty() || data.train_classes.empty();
    check_classes(split_.train, "training", labels.count(), config);
    check_classes(split_.validation, "validation", labels.count(), config);
    check_classes(split_.test, "test", labels.count(), config);
    check_examples(labels, y.name);
    const std::int64_t index_bytes = 3 * static_cast<std::int64_t>(sizeof(std::int64_t));
    memory_.held_bytes = x.owned_bytes + y.owned_bytes + x.rows() * index_bytes;
    memory_.reading_bytes = (2 << 20) + 8 * x.width() * static_cast<std::int64_t>(sizeof(double));
  }

  std::vector<Field> fields() const override {
    return {{"x", DType::f32, example_}, label_field(loss_)};
  }
  std::int64_t inner_batch() const override { return std::int64_t{ways_} * shots_; }
  std::int64_t outer_batch(Split) const override { return std::int64_t{ways_} * queries_; }
  Split watched_split() const override { return Split::validation; }
  Split final_split() const override { return has_test_ ? Split::test : Split::validation; }
  bool same_batch_every_step() const override { return true; }
  std::int64_t output_width() const override { return label_width(loss_, ways_); }
  SourceMemory memory() const override { return memory_; }
  const ClassSplit& split() const { return split_; }

 private:
  void check_classes(const Classes& classes, const char* split, int all,
                     const Config& config) const {
    if (static_cast<int>(classes.size()) >= ways_) return;
    if (const std::int64_t needed = std::int64_t{3} * ways_;
        all < needed) {  // no choice of classes would do
      const int most = all / 3;
      throw UserError(
          origin(config, "data.ways") +
          ": tasks of training, validation and test have classes of their own, " +
          std::to_string(ways_) + " ways each, so " + std::to_string(needed) +
          " in all, but the data has " + std::to_string(all) + "; " +
          (most >= 2 ? "lower data.ways to " + std::to_string(most) + ", or set " : "set ") +
          "data.kind: tabular, which learns one task of all classes");
    }
    throw UserError(origin(config, "data.ways") + ": " + std::to_string(ways_) + " ways, but the " +
                    split + " split has " + std::to_string(classes.size()) + " of the " +
                    std::to_string(all) +
                    " classes; lower it, or set data.train_classes, data.validation_classes and "
                    "data.test_classes");
  }

  void check_examples(const Labels& labels, const std::string& labels_file) const {
    for (const Classes* classes : {&split_.train, &split_.validation, &split_.test}) {
      for (int c : *classes) {
        const DataFacts::Class& one = labels.classes[static_cast<std::size_t>(c)];
        if (one.rows >= std::int64_t{shots_} + queries_) continue;
        throw UserError(labels_file + ": class " + std::to_string(c) +
                        (one.label == std::to_string(c) ? "" : " (" + in_quotes(one.label) + ")") +
                        " has " + std::to_string(one.rows) +
                        " examples, but data.shots and data.queries ask for " +
                        std::to_string(shots_) + " + " + std::to_string(queries_));
      }
    }
  }

  Loss loss_;
  int ways_, shots_, queries_;
  Shape example_;
  ClassSplit split_;
  bool has_test_ = true;  // classes of its own
  SourceMemory memory_;
};

Labels labels_of(const Array& y, const EpisodesData& data, const Config& config) {
  return read_labels(y, data.labels, origin(config, "data.labels"));
}

class Episodes final : public TaskSource {
 public:
  Episodes(const EpisodesData& data, const Config& config)
      : Episodes(data, config, read_dataset({data.x, data.y}, config)) {}

  std::vector<Field> fields() const override { return schema_.fields(); }
  std::int64_t inner_batch() const override { return schema_.inner_batch(); }
  std::int64_t outer_batch(Split split) const override { return schema_.outer_batch(split); }
  Split watched_split() const override { return schema_.watched_split(); }
  Split final_split() const override { return schema_.final_split(); }
  bool same_batch_every_step() const override { return schema_.same_batch_every_step(); }
  std::int64_t output_width() const override { return schema_.output_width(); }
  SourceMemory memory() const override { return schema_.memory(); }
  DataFacts facts() const override { return facts_; }

  void fill_task(Split split, std::uint64_t index, std::int64_t task, std::int64_t,
                 Precision precision, std::span<std::byte* const> inner,
                 std::span<std::byte* const> outer) const override {
    const Classes& classes = classes_of(split);
    Rng rng(seed_, purpose_of(split), index, static_cast<std::uint32_t>(task));
    const IndexPermutation class_order(static_cast<std::int64_t>(classes.size()), rng);
    for (int way = 0; way < ways_; ++way) {
      const int c = classes[static_cast<std::size_t>(class_order[way])];
      const auto& rows = rows_of_class_[static_cast<std::size_t>(c)];
      const IndexPermutation order(static_cast<std::int64_t>(rows.size()), rng);
      for (int i = 0; i < shots_ + queries_; ++i) {
        const bool support = i < shots_;
        const std::int64_t position = support ? (task * ways_ + way) * shots_ + i
                                              : (task * ways_ + way) * queries_ + i - shots_;
        const auto& fields = support ? inner : outer;
        x_.copy(rows[static_cast<std::size_t>(order[i])], precision, fields[0], position);
        write_label(loss_, precision, way, fields[1], position);
      }
    }
  }

 private:
  Episodes(const EpisodesData& data, const Config& config, Dataset set)
      : Episodes(data, config, std::move(set), labels_of(set.y, data, config)) {}

  Episodes(const EpisodesData& data, const Config& config, Dataset set, const Labels& labels)
      : seed_(config.seed),
        loss_(config.inner.loss),
        ways_(data.ways),
        shots_(data.shots),
        queries_(data.queries),
        schema_(set.x, set.y, labels, data, config) {
    rows_of_class_.resize(labels.classes.size());
    for (std::size_t row = 0; row < labels.of_row.size(); ++row) {
      rows_of_class_[static_cast<std::size_t>(labels.of_row[row])].push_back(
          static_cast<std::int64_t>(row));
    }
    std::vector<std::int64_t> training;
    for (int c : schema_.split().train) {
      const auto& rows = rows_of_class_[static_cast<std::size_t>(c)];
      training.insert(training.end(), rows.begin(), rows.end());
    }
    TableStatistics statistics = statistics_of(set.x, data.normalize, training);
    note(set, labels, statistics, data);
    x_ = Rows(std::move(set.x), std::move(statistics), config.precision);
  }

  void note(const Dataset& set, const Labels& labels, const TableStatistics& statistics,
            const EpisodesData& data) {
    facts_.files = {file_of(set.x), file_of(set.y)};
    facts_.classes = labels.classes;
    const ClassSplit& split = schema_.split();
    for (const auto& [name, classes] :
         {std::pair("train", &split.train), std::pair("validation", &split.validation),
          std::pair("test", &split.test)}) {
      facts_.splits.push_back({name, std::ssize(*classes), "classes"});
    }
    facts_.ranges.push_back(range_of("x", statistics));
    const std::string advice = advice_on_scale(set.x, facts_.ranges[0], data.normalize);
    if (!advice.empty()) facts_.warnings.push_back(advice);
    if (labels.renumbered) facts_.notes.push_back(labels.note());
  }

  const Classes& classes_of(Split split) const {
    switch (split) {
      case Split::train:
        return schema_.split().train;
      case Split::validation:
        return schema_.split().validation;
      case Split::test:
        break;
    }
    return schema_.split().test;
  }

  std::uint64_t seed_;
  Loss loss_;
  int ways_, shots_, queries_;
  EpisodesSchema schema_;
  std::vector<std::vector<std::int64_t>> rows_of_class_;
  Rows x_;
  DataFacts facts_;
};

}  // namespace

std::unique_ptr<TaskSource> make_episodes(const EpisodesData& data, const Config& config) {
  return std::make_unique<Episodes>(data, config);
}

std::unique_ptr<DataSchema> make_episodes_schema(const EpisodesData& data, const Config& config) {
  const DatasetOutline set = read_outline({data.x, data.y}, config);
  return std::make_unique<EpisodesSchema>(set.x, set.y, labels_of(set.y, data, config), data,
                                          config);
}

}  // namespace mixflow
