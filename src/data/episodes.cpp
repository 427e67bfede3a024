#include "data/episodes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>

#include "config/load.h"
#include "data/dataset.h"
#include "data/split.h"
#include "util/error.h"
#include "util/rng.h"

namespace mixflow {

namespace {

using Classes = std::vector<int>;

struct ClassSplit {
  Classes train, validation, test;
};

// Without lists in the config: classes in order, 60 % for training, 20 % each for validation and
// test.
ClassSplit share_out(int classes) {
  Classes all(static_cast<std::size_t>(classes));
  for (int c = 0; c < classes; ++c) all[static_cast<std::size_t>(c)] = c;
  const auto train = std::lround(0.6 * classes), held_out = std::lround(0.2 * classes);
  const auto first = all.begin();
  return {{first, first + train},
          {first + train, first + train + held_out},
          {first + train + held_out, all.end()}};
}

ClassSplit split_classes(const EpisodesData& data, int classes, const Config& config) {
  if (data.train_classes.empty() && data.validation_classes.empty() && data.test_classes.empty()) {
    return share_out(classes);
  }
  for (const auto& [list, key] : {std::pair(&data.train_classes, "train_classes"),
                                  std::pair(&data.validation_classes, "validation_classes"),
                                  std::pair(&data.test_classes, "test_classes")}) {
    for (int c : *list) {
      if (c >= 0 && c < classes) continue;
      throw UserError(origin(config, std::string("data.") + key) + ": class " + std::to_string(c) +
                      " does not exist: the data has 0 .. " + std::to_string(classes - 1));
    }
  }
  ClassSplit split{data.train_classes, data.validation_classes, data.test_classes};
  if (split.validation.empty()) split.validation = split.test;
  if (split.test.empty()) split.test = split.validation;
  return split;
}

class Episodes final : public TaskSource {
 public:
  Episodes(const EpisodesData& data, const Config& config)
      : seed_(config.seed),
        loss_(config.inner.loss),
        ways_(data.ways),
        shots_(data.shots),
        queries_(data.queries) {
    MIXFLOW_CHECK(shots_ >= 1 && queries_ >= 1 && loss_ != Loss::mse &&
                      (loss_ == Loss::bce ? ways_ == 2 : ways_ >= 2),
                  "the loader lets no other counts and losses pass");
    Dataset set = read_dataset({data.x, data.y, ""}, config);
    const Labels labels = read_labels(set.y);
    rows_of_class_.resize(static_cast<std::size_t>(labels.classes));
    for (std::size_t row = 0; row < labels.of_row.size(); ++row) {
      rows_of_class_[static_cast<std::size_t>(labels.of_row[row])].push_back(
          static_cast<std::int64_t>(row));
    }
    split_ = split_classes(data, labels.classes, config);
    check_classes(split_.train, "training", labels.classes, config);
    check_classes(split_.validation, "validation", labels.classes, config);
    check_classes(split_.test, "test", labels.classes, config);
    check_examples(set.y.name);

    std::vector<std::int64_t> training;
    for (int c : split_.train) {
      const auto& rows = rows_of_class_[static_cast<std::size_t>(c)];
      training.insert(training.end(), rows.begin(), rows.end());
    }
    TableStatistics statistics = statistics_of(set.x, data.normalize, training);
    x_ = Rows(std::move(set.x), std::move(statistics), config.precision);
  }

  std::vector<Field> fields() const override {
    return {{"x", DType::f32, {x_.width()}}, label_field(loss_)};
  }
  std::int64_t inner_batch() const override { return std::int64_t{ways_} * shots_; }
  std::int64_t outer_batch(Split) const override { return std::int64_t{ways_} * queries_; }
  Split watched_split() const override { return Split::validation; }
  bool same_batch_every_step() const override { return true; }
  std::int64_t output_width() const override { return label_width(loss_, ways_); }

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
  const Classes& classes_of(Split split) const {
    switch (split) {
      case Split::train:
        return split_.train;
      case Split::validation:
        return split_.validation;
      case Split::test:
        break;
    }
    return split_.test;
  }

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

  void check_examples(const std::string& labels_file) const {
    for (const Classes* classes : {&split_.train, &split_.validation, &split_.test}) {
      for (int c : *classes) {
        const std::size_t examples = rows_of_class_[static_cast<std::size_t>(c)].size();
        if (examples >= static_cast<std::size_t>(shots_) + static_cast<std::size_t>(queries_))
          continue;
        throw UserError(labels_file + ": class " + std::to_string(c) + " has " +
                        std::to_string(examples) +
                        " examples, but data.shots and data.queries ask for " +
                        std::to_string(shots_) + " + " + std::to_string(queries_));
      }
    }
  }

  std::uint64_t seed_;
  Loss loss_;
  int ways_, shots_, queries_;
  std::vector<std::vector<std::int64_t>> rows_of_class_;
  ClassSplit split_;
  Rows x_;
};

}  // namespace

std::unique_ptr<TaskSource> make_episodes(const EpisodesData& data, const Config& config) {
  return std::make_unique<Episodes>(data, config);
}

}  // namespace mixflow
