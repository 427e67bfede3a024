#include "data/tabular.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "config/load.h"
#include "config/table_file.h"
#include "data/dataset.h"
#include "data/labels.h"
#include "data/split.h"
#include "data/tabular_files.h"
#include "util/error.h"
#include "util/rng.h"
#include "util/text.h"

namespace mixflow {

namespace {

// How many rows each split gets, and how many of them are shares of x's own file.
struct SplitCounts {
  std::int64_t train = 0, validation = 0, test = 0;
  std::int64_t validation_share = 0, test_share = 0;
};

// What batches look like, from the shapes of x and y and the number of classes.
class TabularSchema final : public DataSchema {
 public:
  // `classes`: of classification, else 0.
  TabularSchema(const TabularOutline& files, int classes, const TabularData& data,
                const Config& config)
      : loss_(config.inner.loss), example_(files.x.shape.begin() + 1, files.x.shape.end()) {
    const ArraySchema &x = files.x, &y = files.y;
    counts_ = split_counts(files.rows, data, config);
    check_batch(origin(config, "data.batch"), data.batch, "training", counts_.train);
    check_batch(origin(config, "data.outer_batch"), data.outer_batch, "validation",
                counts_.validation);
    batch_ = data.batch == 0 ? counts_.train : data.batch;
    outer_batch_ = data.outer_batch == 0 ? counts_.validation : data.outer_batch;
    if (loss_ == Loss::bce && classes != 2) {
      throw UserError(origin(config, "inner.loss") + ": bce expects two classes, " + y.name +
                      " has " + std::to_string(classes) + "; use cross_entropy");
    }
    output_width_ = loss_ == Loss::mse ? y.width() : label_width(loss_, classes);
    // Rows of each split twice over, and labels.
    const std::int64_t index_bytes = 5 * static_cast<std::int64_t>(sizeof(std::int64_t));
    memory_.held_bytes = x.owned_bytes + y.owned_bytes + x.rows() * index_bytes;
    memory_.reading_bytes = kBlockBytes + 8 * x.width() * static_cast<std::int64_t>(sizeof(double));
    // A table of text: pieces of it, and its targets as texts, codes and numbers.
    if (is_table_file(data.x) || is_table_file(data.y)) {
      memory_.reading_bytes += kTextBytes + 32 * x.rows();
    }
  }

  std::vector<Field> fields() const override {
    const Field y =
        loss_ == Loss::mse ? Field{"y", DType::f32, {output_width_}} : label_field(loss_);
    return {{"x", DType::f32, example_}, y};
  }
  std::int64_t inner_batch() const override { return batch_; }
  std::int64_t outer_batch(Split split) const override {
    if (split == Split::train) return outer_batch_;
    return split == Split::test && counts_.test > 0 ? counts_.test : counts_.validation;
  }
  bool same_batch_every_step() const override { return batch_ == counts_.train; }
  Split final_split() const override {
    return counts_.test > 0 ? Split::test : Split::validation;
  }
  bool one_task(Split split) const override {
    return same_batch_every_step() && one_outer_batch(split);
  }
  bool one_outer_batch(Split split) const override {
    return split != Split::train || outer_batch_ == counts_.validation;
  }
  std::int64_t output_width() const override { return output_width_; }
  SourceMemory memory() const override { return memory_; }
  const SplitCounts& counts() const { return counts_; }

 private:
  static constexpr std::int64_t kBlockBytes = 2 << 20;  // of for_each_block
  static constexpr std::int64_t kTextBytes = 16 << 20;

  static void check_batch(const std::string& where, std::int64_t batch, const char* split,
                          std::int64_t rows) {
    if (batch >= 0 && batch <= rows) return;
    throw UserError(where + ": " + std::to_string(batch) + " examples asked for, but the " + split +
                    " split has " + std::to_string(rows) + "; 0 takes all of them");
  }
  static SplitCounts split_counts(const FileRows& rows, const TabularData& data,
                                  const Config& config);

  Loss loss_;
  Shape example_;
  SplitCounts counts_;
  std::int64_t batch_ = 0, outer_batch_ = 0, output_width_ = 0;
  SourceMemory memory_;
};

// Shares of the rows of x's own file, rounded to the nearest; other files are wholly of their split.
SplitCounts TabularSchema::split_counts(const FileRows& rows, const TabularData& data,
                                        const Config& config) {
  const auto count_of = [&](double share) {
    return std::llround(share * static_cast<double>(rows[0]));
  };
  SplitCounts counts{.validation_share = count_of(data.validation),
                     .test_share = count_of(data.test)};
  counts.train = rows[0] - counts.validation_share - counts.test_share;
  counts.validation = counts.validation_share + rows[1];
  counts.test = counts.test_share + rows[2];
  const bool no_test = data.test > 0 && counts.test < 1;
  if (counts.validation < 1 || counts.train < 1 || no_test) {
    throw UserError(origin(config, "data.validation") + " and data.test: " +
                    std::to_string(rows[0]) + " rows are too few: the split gives " +
                    std::to_string(counts.train) + " for training, " +
                    std::to_string(counts.validation) + " for validation, " +
                    std::to_string(counts.test) + " for test");
  }
  return counts;
}

// Rows of each split, in the order in which they are used.
struct RowSplit {
  std::vector<std::int64_t> train, validation, test;
};

RowSplit split_rows(const SplitCounts& counts, const FileRows& rows, const TabularData& data,
                    const Config& config) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(rows[0]));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  if (data.split == "random") {
    order = Rng(config.seed, Purpose::data_split).permutation(rows[0]);
  } else {
    MIXFLOW_CHECK(data.split == "ordered",
                  "the loader lets only known values of data.split pass: " + data.split);
  }
  const auto validation = order.begin() + counts.train;
  const auto test = validation + counts.validation_share;
  RowSplit split{{order.begin(), validation}, {validation, test}, {test, order.end()}};
  const auto add = [](std::vector<std::int64_t>& to, std::int64_t first, std::int64_t count) {
    for (std::int64_t row = first; row < first + count; ++row) to.push_back(row);
  };
  add(split.validation, rows[0], rows[1]);
  add(split.test, rows[0] + rows[1], rows[2]);
  return split;
}

// Places in `rows` in the order of the rows that they name.
std::vector<std::int64_t> by_file(const std::vector<std::int64_t>& rows) {
  std::vector<std::int64_t> places(rows.size());
  std::iota(places.begin(), places.end(), std::int64_t{0});
  std::ranges::sort(places, {}, [&](std::int64_t i) { return rows[static_cast<std::size_t>(i)]; });
  return places;
}

Labels labels_of(const Array& y, const TabularData& data, const Config& config) {
  if (config.inner.loss == Loss::mse) return {};
  return read_labels(y, data.labels, origin(config, "data.labels"));
}

// One training row of each class is the least that can be learned from.
std::string missing_classes(const Labels& labels, const RowSplit& split, const TabularData& data) {
  std::vector<std::int64_t> trained(labels.classes.size());
  for (const std::int64_t row : split.train) {
    ++trained[static_cast<std::size_t>(labels.of_row[static_cast<std::size_t>(row)])];
  }
  std::size_t missing = 0, first = 0;
  for (std::size_t c = trained.size(); c-- > 0;) {
    if (trained[c] > 0 || labels.classes[c].rows == 0) continue;
    ++missing;
    first = c;
  }
  if (missing == 0) return "";
  const std::string what = missing == 1
                               ? "label " + in_quotes(labels.classes[first].label, 20) + " has"
                               : std::to_string(missing) + " of the " +
                                     std::to_string(labels.classes.size()) + " classes have";
  return what + " no row in the training split" +
         (data.split == "ordered"
              ? ": the file seems to be sorted by label; set data.split: random"
              : ", only in validation and test; the class is too rare to be learned");
}

// A held-out split of one label alone, cut from a file that has several, says that the file is
// sorted: of few classes, the training rows may still have all. Splits from files of their own say
// nothing of x's.
std::string single_label(const Labels& labels, const RowSplit& split, const SplitCounts& counts,
                         const TabularData& data) {
  constexpr std::ptrdiff_t kEnough = 10;  // fewer rows may agree by chance
  if (data.split != "ordered") return "";
  const auto has_rows = [](const DataFacts::Class& c) { return c.rows > 0; };
  if (std::ranges::count_if(labels.classes, has_rows) < 2) return "";
  const auto label_of = [&](std::int64_t row) {
    return labels.of_row[static_cast<std::size_t>(row)];
  };
  const auto one_of = [&](const std::vector<std::int64_t>& rows) {
    return std::ranges::all_of(
        rows, [&](std::int64_t row) { return label_of(row) == label_of(rows.front()); });
  };
  const auto warning = [&](const char* name, const std::vector<std::int64_t>& rows) {
    const auto label = static_cast<std::size_t>(label_of(rows.front()));
    return std::string("the ") + name + " split has label " +
           in_quotes(labels.classes[label].label, 20) +
           " alone: the file seems to be sorted by label; set data.split: random";
  };
  const auto cut = [](std::int64_t share, const std::vector<std::int64_t>& rows) {
    return share == std::ssize(rows) && share >= kEnough;
  };
  if (cut(counts.validation_share, split.validation) && one_of(split.validation)) {
    return warning("validation", split.validation);
  }
  if (cut(counts.test_share, split.test) && one_of(split.test)) return warning("test", split.test);
  return "";
}

class Tabular final : public TaskSource {
 public:
  Tabular(const TabularData& data, const Config& config)
      : Tabular(data, config, read_tabular(data, config)) {}

  std::vector<Field> fields() const override { return schema_.fields(); }
  std::int64_t inner_batch() const override { return schema_.inner_batch(); }
  std::int64_t outer_batch(Split split) const override { return schema_.outer_batch(split); }
  bool same_batch_every_step() const override { return schema_.same_batch_every_step(); }
  Split final_split() const override { return schema_.final_split(); }
  bool one_task(Split split) const override { return schema_.one_task(split); }
  bool one_outer_batch(Split split) const override { return schema_.one_outer_batch(split); }
  std::int64_t output_width() const override { return schema_.output_width(); }
  SourceMemory memory() const override { return schema_.memory(); }
  DataFacts facts() const override { return facts_; }

  void fill_task(Split split, std::uint64_t index, std::int64_t task, std::int64_t steps,
                 Precision precision, std::span<std::byte* const> inner,
                 std::span<std::byte* const> outer) const override {
    Rng rng(seed_, purpose_of(split), index, static_cast<std::uint32_t>(task));
    fill_outer(split, rng, precision, outer, task);
    fill_inner(rng, precision, inner, task, same_batch_every_step() ? 1 : steps);
  }

 private:
  Tabular(const TabularData& data, const Config& config, TabularSet set)
      : Tabular(data, config, std::move(set), labels_of(set.outline.y, data, config)) {}

  Tabular(const TabularData& data, const Config& config, TabularSet set, Labels labels)
      : seed_(config.seed),
        loss_(config.inner.loss),
        schema_(set.outline, labels.count(), data, config),
        split_(split_rows(schema_.counts(), set.outline.rows, data, config)),
        batch_(schema_.inner_batch()) {
    set.fill_missing(split_.train);
    facts_.files = std::move(set.outline.files);
    facts_.notes = std::move(set.outline.notes);
    note_splits();
    TableStatistics statistics = statistics_of(set.x, data.normalize, split_.train);
    note_x(set.x, statistics, data);
    x_ = Rows(std::move(set.x), std::move(statistics), config.precision);
    if (loss_ == Loss::mse) {
      statistics = statistics_of(set.outline.y, "none", split_.train);
      facts_.ranges.push_back(range_of("y", statistics));
      y_ = Rows(std::move(set.outline.y), std::move(statistics), config.precision);
    } else {
      note_labels(labels, data);
      labels_ = std::move(labels.of_row);
    }
    if (split_.test.empty()) split_.test = split_.validation;
    train_by_file_ = by_file(split_.train);
    validation_by_file_ = by_file(split_.validation);
    test_by_file_ = by_file(split_.test);
  }

  void note_splits() {
    for (const auto& [name, rows] :
         {std::pair("train", &split_.train), std::pair("validation", &split_.validation),
          std::pair("test", &split_.test)}) {
      if (!rows->empty()) facts_.splits.push_back({name, std::ssize(*rows), "rows"});
    }
  }

  void note_x(const ArraySchema& x, const TableStatistics& statistics, const TabularData& data) {
    const DataFacts::Values values = range_of("x", statistics);
    facts_.ranges.push_back(values);
    const std::string advice = advice_on_scale(x, values, data.normalize);
    if (!advice.empty()) facts_.warnings.push_back(advice);
  }

  void note_labels(const Labels& labels, const TabularData& data) {
    facts_.classes = labels.classes;
    const std::string note = labels.note();
    if (!note.empty()) facts_.notes.push_back(note);
    std::string warning = missing_classes(labels, split_, data);
    if (warning.empty()) warning = single_label(labels, split_, schema_.counts(), data);
    if (!warning.empty()) facts_.warnings.push_back(std::move(warning));
  }

  const std::vector<std::int64_t>& outer_rows(Split split) const {
    return split == Split::test ? split_.test : split_.validation;
  }

  void copy(std::int64_t row, Precision precision, std::span<std::byte* const> fields,
            std::int64_t position) const {
    x_.copy(row, precision, fields[0], position);
    if (loss_ == Loss::mse) {
      y_.copy(row, precision, fields[1], position);
    } else {
      write_label(loss_, precision, labels_[static_cast<std::size_t>(row)], fields[1], position);
    }
  }

  // All rows of a split, each at its place in the split. They are copied in the order of the file,
  // whose pages are read once; in an evaluation, which is rare, they are let go of again.
  void copy_all(const std::vector<std::int64_t>& rows, const std::vector<std::int64_t>& by_file,
                bool release, Precision precision, std::span<std::byte* const> fields,
                std::int64_t first_position) const {
    constexpr std::int64_t kReleaseRows = 1024;
    std::int64_t released = 0;
    for (std::size_t n = 0; n < by_file.size(); ++n) {
      const std::int64_t row = rows[static_cast<std::size_t>(by_file[n])];
      copy(row, precision, fields, first_position + by_file[n]);
      if (!release || (row < released + kReleaseRows && n + 1 < by_file.size())) continue;
      x_.release(released, row + 1);
      released = row;
    }
  }

  // The first draw of a task's stream belongs to the outer batch whatever T is.
  void fill_outer(Split split, Rng& rng, Precision precision, std::span<std::byte* const> outer,
                  std::int64_t task) const {
    const std::vector<std::int64_t>& rows = outer_rows(split);
    const std::int64_t count = outer_batch(split);
    const auto available = static_cast<std::int64_t>(rows.size());
    const IndexPermutation order(available, rng);
    if (count == available) {
      copy_all(rows, &rows == &split_.test ? test_by_file_ : validation_by_file_,
               split != Split::train, precision, outer, task * count);
      return;
    }
    for (std::int64_t i = 0; i < count; ++i) {
      copy(rows[static_cast<std::size_t>(order[i])], precision, outer, task * count + i);
    }
  }

  void fill_inner(Rng& rng, Precision precision, std::span<std::byte* const> inner,
                  std::int64_t task, std::int64_t steps) const {
    const auto available = static_cast<std::int64_t>(split_.train.size());
    const std::int64_t batches_per_epoch = available / batch_;
    for (std::int64_t step = 0; step < steps;) {
      const IndexPermutation order(available, rng);  // a new epoch
      for (std::int64_t batch = 0; batch < batches_per_epoch && step < steps; ++batch, ++step) {
        const std::int64_t first = (task * steps + step) * batch_;
        if (batch_ == available) {
          copy_all(split_.train, train_by_file_, false, precision, inner, first);
          continue;
        }
        for (std::int64_t i = 0; i < batch_; ++i) {
          const std::int64_t at = order[batch * batch_ + i];
          copy(split_.train[static_cast<std::size_t>(at)], precision, inner, first + i);
        }
      }
    }
  }

  std::uint64_t seed_;
  Loss loss_;
  TabularSchema schema_;
  RowSplit split_;
  std::vector<std::int64_t> train_by_file_, validation_by_file_, test_by_file_;
  std::int64_t batch_;
  Rows x_;
  Rows y_;                            // regression
  std::vector<std::int32_t> labels_;  // classification
  DataFacts facts_;
};

void check_loss(const TabularData& data, const Config& config) {
  MIXFLOW_CHECK((config.inner.loss == Loss::mse) == (data.target == Target::regression),
                "the loader lets no other loss pass");
}

}  // namespace

std::unique_ptr<TaskSource> make_tabular(const TabularData& data, const Config& config) {
  check_loss(data, config);
  return std::make_unique<Tabular>(data, config);
}

std::unique_ptr<DataSchema> make_tabular_schema(const TabularData& data, const Config& config) {
  check_loss(data, config);
  const TabularOutline files = outline_of(data, config);
  const int classes = labels_of(files.y, data, config).count();
  return std::make_unique<TabularSchema>(files, classes, data, config);
}

}  // namespace mixflow
