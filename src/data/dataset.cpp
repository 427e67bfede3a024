#include "data/dataset.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <utility>

#include "config/load.h"
#include "data/csv.h"
#include "data/locate.h"
#include "util/error.h"
#include "util/file.h"

namespace mixflow {

namespace {

constexpr std::int64_t kMaxClasses = 1 << 20;

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g", value);
  return text;
}

// Column `target` of a .csv becomes y, the others x.
Dataset split_csv(const std::string& path, const std::string& target) {
  const CsvTable table = parse_csv(read_text(path), path, target);
  std::string columns;
  for (const std::string& name : table.header) columns += (columns.empty() ? "" : ", ") + name;
  const auto found = std::find(table.header.begin(), table.header.end(), target);
  if (found == table.header.end()) {
    throw UserError(path + ": no column \"" + target + "\"; " +
                    (columns.empty() ? "the file has no header row" : "it has " + columns));
  }
  const auto column = found - table.header.begin();
  const std::int64_t rows = table.numbers.shape[0], width = table.numbers.shape[1];
  if (width < 2) throw UserError(path + ": holds the target alone, expected further columns for x");
  Dataset data{{.name = path, .dtype = "number", .shape = {rows, width - 1}, .values = {}},
               {.name = path + ":" + target, .dtype = "number", .shape = {rows, 1}, .values = {}}};
  for (std::int64_t i = 0; i < rows * width; ++i) {
    (i % width == column ? data.y : data.x)
        .values.push_back(table.numbers.values[static_cast<std::size_t>(i)]);
  }
  return data;
}

}  // namespace

Dataset read_dataset(const DatasetFiles& files, const Config& config) {
  if (files.x.empty())
    throw UserError(origin(config, "data.x") + ": expected a .npy, .npz:member or .csv file");
  const std::string x_path = existing(files.x, config, "data.x");
  Dataset data;
  if (!files.y.empty()) {
    data = {read_array(x_path), read_array(existing(files.y, config, "data.y"))};
  } else if (files.target_column.empty() || std::filesystem::path(x_path).extension() != ".csv") {
    throw UserError(origin(config, "data.y") +
                    ": expected a file of targets, or a .csv in data.x and the name of "
                    "its column in data.target_column");
  } else {
    data = split_csv(x_path, files.target_column);
  }
  Array& x = data.x;
  Array& y = data.y;
  if (x.shape.size() < 2) {
    throw UserError(x.name + ": found " + x.type() + ", expected [examples, features]");
  }
  if (y.shape.empty() || y.shape.size() > 2) {
    throw UserError(y.name + ": found " + y.type() +
                    ", expected [examples] or [examples, outputs]");
  }
  if (x.values.empty()) throw UserError(x.name + ": found " + x.type() + ": no numbers");
  if (x.rows() != y.rows()) {
    throw UserError(x.name + " and " + y.name + " differ in length: " + x.type() + " and " +
                    y.type() + "; expected one target per example");
  }
  if (y.values.empty()) throw UserError(y.name + ": found " + y.type() + ": no numbers");
  check_finite(x);
  check_finite(y);
  x.shape = {x.rows(), x.width()};
  y.shape = {y.rows(), y.width()};
  return data;
}

Labels read_labels(const Array& y) {
  if (y.width() != 1) {
    throw UserError(y.name + ": found " + y.type() +
                    ", expected one class label per example: [examples]");
  }
  Labels labels;
  for (std::size_t row = 0; row < y.values.size(); ++row) {
    const double value = y.values[row];
    if (value < 0 || value != std::floor(value) || value >= kMaxClasses) {
      throw UserError(y.name + ": row " + std::to_string(row) + " (from 0) has label " +
                      short_number(value) + "; expected whole numbers 0 .. classes-1");
    }
    labels.of_row.push_back(static_cast<std::int32_t>(value));
  }
  labels.classes = 1 + *std::max_element(labels.of_row.begin(), labels.of_row.end());
  std::vector<bool> used(static_cast<std::size_t>(labels.classes));
  for (std::int32_t label : labels.of_row) used[static_cast<std::size_t>(label)] = true;
  const auto gap = std::find(used.begin(), used.end(), false);
  if (gap != used.end()) {
    throw UserError(y.name + ": no example has label " + std::to_string(gap - used.begin()) +
                    ", but the largest is " + std::to_string(labels.classes - 1) +
                    "; expected every label 0 .. classes-1 to occur");
  }
  if (labels.classes == 1) {
    throw UserError(y.name + ": every label is 0: expected at least two classes");
  }
  return labels;
}

Rows::Rows(Array array, Precision precision) : width_(array.width()) {
  if (precision == Precision::f64) {
    f64_ = std::move(array.values);
    return;
  }
  const auto large = std::find_if(array.values.begin(), array.values.end(), [](double v) {
    return std::abs(v) > std::numeric_limits<float>::max();
  });
  if (large != array.values.end()) {
    throw UserError(array.name + ": row " +
                    std::to_string((large - array.values.begin()) / width_) + " (from 0) holds " +
                    short_number(*large) +
                    ", too large for precision f32; scale the data or use precision: f64");
  }
  f32_.assign(array.values.begin(), array.values.end());
}

void Rows::copy(std::int64_t row, Precision precision, std::byte* out,
                std::int64_t position) const {
  const auto width = static_cast<std::size_t>(width_);
  const auto begin = static_cast<std::size_t>(row) * width;
  const auto write = [&](const auto& values, auto* to) {
    std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(begin), width,
                to + static_cast<std::size_t>(position) * width);
  };
  const bool held_as_f64 = f32_.empty();
  if (precision != Precision::f64) {
    auto* to = reinterpret_cast<float*>(out);
    held_as_f64 ? write(f64_, to) : write(f32_, to);
  } else {
    auto* to = reinterpret_cast<double*>(out);
    held_as_f64 ? write(f64_, to) : write(f32_, to);
  }
}

Field label_field(Loss loss) {
  if (loss == Loss::cross_entropy) return {"y", DType::i32, {}};
  return {"y", DType::f32, {1}};
}

std::int64_t label_width(Loss loss, int classes) {
  return loss == Loss::cross_entropy ? classes : 1;
}

void write_label(Loss loss, Precision precision, std::int32_t label, std::byte* out,
                 std::int64_t position) {
  if (loss == Loss::cross_entropy) {
    reinterpret_cast<std::int32_t*>(out)[position] = label;
  } else if (precision != Precision::f64) {
    reinterpret_cast<float*>(out)[position] = static_cast<float>(label);
  } else {
    reinterpret_cast<double*>(out)[position] = label;
  }
}

namespace {

void standardize(Array& x, const std::vector<std::int64_t>& training) {
  const auto width = static_cast<std::size_t>(x.width());
  const auto count = static_cast<double>(training.size());
  std::vector<double> mean(width, 0.0), square(width, 0.0);
  const auto row = [&](std::int64_t i) {
    return x.values.data() + static_cast<std::size_t>(i) * width;
  };
  for (std::int64_t i : training) {
    for (std::size_t c = 0; c < width; ++c) mean[c] += row(i)[c] / count;
  }
  for (std::int64_t i : training) {
    for (std::size_t c = 0; c < width; ++c)
      square[c] += (row(i)[c] - mean[c]) * (row(i)[c] - mean[c]) / count;
  }
  for (std::size_t c = 0; c < width; ++c) {
    const double first = row(training[0])[c];
    // Tested on the values: rounding leaves a constant column a deviation of about 1e-17, not 0.
    const bool constant = std::all_of(training.begin(), training.end(),
                                      [&](std::int64_t i) { return row(i)[c] == first; });
    const double scale = constant ? 1.0 : 1.0 / std::sqrt(square[c]);
    if (constant) mean[c] = first;
    for (std::int64_t i = 0; i < x.rows(); ++i) row(i)[c] = (row(i)[c] - mean[c]) * scale;
  }
}

}  // namespace

void normalize(Array& x, const std::string& kind, const std::vector<std::int64_t>& training) {
  if (kind == "standard") {
    standardize(x, training);
  } else if (kind == "unit") {
    double largest = 0;
    const auto width = x.width();
    for (std::int64_t i : training) {
      for (std::int64_t c = i * width; c < (i + 1) * width; ++c) {
        largest = std::max(largest, std::abs(x.values[static_cast<std::size_t>(c)]));
      }
    }
    if (largest > 0) {
      for (double& value : x.values) value /= largest;
    }
  } else {
    MIXFLOW_CHECK(kind == "none",
                  "the loader lets only known values of data.normalize pass: " + kind);
  }
}

}  // namespace mixflow
