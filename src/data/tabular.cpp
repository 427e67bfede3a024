#include "data/tabular.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "config/load.h"
#include "data/dataset.h"
#include "data/split.h"
#include "util/error.h"
#include "util/rng.h"

namespace mixflow {

namespace {

// Places in `rows` in the order of the rows that they name.
std::vector<std::int64_t> by_file(const std::vector<std::int64_t>& rows) {
  std::vector<std::int64_t> places(rows.size());
  std::iota(places.begin(), places.end(), std::int64_t{0});
  std::ranges::sort(places, {}, [&](std::int64_t i) { return rows[static_cast<std::size_t>(i)]; });
  return places;
}

class Tabular final : public TaskSource {
 public:
  Tabular(const TabularData& data, const Config& config)
      : seed_(config.seed), loss_(config.inner.loss) {
    Dataset set = read_dataset({data.x, data.y, data.target_column}, config);
    split_ = split_rows(set.x.rows(), data, config);
    if (split_.test.empty()) split_.test = split_.validation;
    train_by_file_ = by_file(split_.train);
    validation_by_file_ = by_file(split_.validation);
    test_by_file_ = by_file(split_.test);
    const auto train_rows = static_cast<std::int64_t>(split_.train.size());
    const auto outer_rows = static_cast<std::int64_t>(split_.validation.size());
    check_batch(origin(config, "data.batch"), data.batch, "training", train_rows);
    check_batch(origin(config, "data.outer_batch"), data.outer_batch, "validation", outer_rows);
    batch_ = data.batch == 0 ? train_rows : data.batch;
    outer_batch_ = data.outer_batch == 0 ? outer_rows : data.outer_batch;

    TableStatistics statistics = statistics_of(set.x, data.normalize, split_.train);
    x_ = Rows(std::move(set.x), std::move(statistics), config.precision);
    if (loss_ == Loss::mse) {
      output_width_ = set.y.width();
      statistics = statistics_of(set.y, "none", split_.train);
      y_ = Rows(std::move(set.y), std::move(statistics), config.precision);
      return;
    }
    Labels labels = read_labels(set.y);
    if (loss_ == Loss::bce && labels.classes != 2) {
      throw UserError(origin(config, "inner.loss") + ": bce expects two classes, " + set.y.name +
                      " has " + std::to_string(labels.classes) + "; use cross_entropy");
    }
    output_width_ = label_width(loss_, labels.classes);
    labels_ = std::move(labels.of_row);
  }

  std::vector<Field> fields() const override {
    const Field y =
        loss_ == Loss::mse ? Field{"y", DType::f32, {output_width_}} : label_field(loss_);
    return {{"x", DType::f32, {x_.width()}}, y};
  }
  std::int64_t inner_batch() const override { return batch_; }
  std::int64_t outer_batch(Split split) const override {
    return split == Split::train ? outer_batch_
                                 : static_cast<std::int64_t>(outer_rows(split).size());
  }
  bool same_batch_every_step() const override {
    return batch_ == static_cast<std::int64_t>(split_.train.size());
  }
  std::int64_t output_width() const override { return output_width_; }

  void fill_task(Split split, std::uint64_t index, std::int64_t task, std::int64_t steps,
                 Precision precision, std::span<std::byte* const> inner,
                 std::span<std::byte* const> outer) const override {
    Rng rng(seed_, purpose_of(split), index, static_cast<std::uint32_t>(task));
    fill_outer(split, rng, precision, outer, task);
    fill_inner(rng, precision, inner, task, same_batch_every_step() ? 1 : steps);
  }

 private:
  static void check_batch(const std::string& where, std::int64_t batch, const char* split,
                          std::int64_t rows) {
    if (batch >= 0 && batch <= rows) return;
    throw UserError(where + ": " + std::to_string(batch) + " examples asked for, but the " + split +
                    " split has " + std::to_string(rows) + "; 0 takes all of them");
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
  RowSplit split_;
  std::vector<std::int64_t> train_by_file_, validation_by_file_, test_by_file_;
  std::int64_t batch_ = 0, outer_batch_ = 0, output_width_ = 0;
  Rows x_;
  Rows y_;                            // regression
  std::vector<std::int32_t> labels_;  // classification
};

}  // namespace

RowSplit split_rows(std::int64_t rows, const TabularData& data, const Config& config) {
  const std::string where = origin(config, "data.validation");
  MIXFLOW_CHECK(data.validation > 0 && data.test >= 0 && data.validation + data.test < 1,
                "the loader lets no other shares pass");
  const auto count_of = [&](double share) {
    return std::llround(share * static_cast<double>(rows));
  };
  const std::int64_t validation = count_of(data.validation), test = count_of(data.test);
  const std::int64_t train = rows - validation - test;
  if (validation < 1 || train < 1 || (data.test > 0 && test < 1)) {
    throw UserError(where + " and data.test: " + std::to_string(rows) +
                    " rows are too few: the split gives " + std::to_string(train) +
                    " for training, " + std::to_string(validation) + " for validation, " +
                    std::to_string(test) + " for test");
  }
  std::vector<std::int64_t> order(static_cast<std::size_t>(rows));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  if (data.split == "random") {
    order = Rng(config.seed, Purpose::data_split).permutation(rows);
  } else {
    MIXFLOW_CHECK(data.split == "ordered",
                  "the loader lets only known values of data.split pass: " + data.split);
  }
  const auto first = order.begin();
  return {{first, first + train},
          {first + train, first + train + validation},
          {first + train + validation, order.end()}};
}

std::unique_ptr<TaskSource> make_tabular(const TabularData& data, const Config& config) {
  MIXFLOW_CHECK((config.inner.loss == Loss::mse) == (data.target == Target::regression),
                "the loader lets no other loss pass");
  return std::make_unique<Tabular>(data, config);
}

}  // namespace mixflow
