#include "data/dataset.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <utility>

#include "config/table_file.h"
#include "data/csv.h"
#include "data/locate.h"
#include "util/error.h"

namespace mixflow {

namespace {

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g", value);
  return text;
}

// y of a file of its own: labels may be texts in a table too.
Array read_labels_file(const std::string& path) {
  if (!is_table_file(path)) return read_array(path);
  const CsvTable table = read_csv(std::span(&path, 1), {.only_target = true, .text_target = true});
  return table.y ? *table.y : table.x();
}

}  // namespace

void check_shapes(const ArraySchema& x, const ArraySchema& y) {
  if (x.element->kind == ElementType::Kind::text) {
    throw UserError(x.name + ": found " + x.type() +
                    ", expected plain numbers; only labels may be texts");
  }
  if (x.shape.size() < 2) {
    throw UserError(x.name + ": found " + x.type() + ", expected [examples, features]");
  }
  if (y.shape.empty() || y.shape.size() > 2) {
    throw UserError(y.name + ": found " + y.type() +
                    ", expected [examples] or [examples, outputs]");
  }
  if (x.elements() == 0) throw UserError(x.name + ": found " + x.type() + ": no numbers");
  if (x.rows() != y.rows()) {
    throw UserError(x.name + " and " + y.name + " differ in length: " + x.type() + " and " +
                    y.type() + "; expected one target per example");
  }
  if (y.elements() == 0) throw UserError(y.name + ": found " + y.type() + ": no numbers");
}

Dataset read_dataset(const DatasetFiles& files, const Config& config) {
  Dataset data{read_array(existing(files.x, config, "data.x")),
               read_labels_file(existing(files.y, config, "data.y"))};
  check_shapes(data.x, data.y);
  return data;
}

DatasetOutline read_outline(const DatasetFiles& files, const Config& config) {
  DatasetOutline outline{read_array_schema(existing(files.x, config, "data.x")),
                         read_labels_file(existing(files.y, config, "data.y"))};
  check_shapes(outline.x, outline.y);
  return outline;
}

DataFacts::File file_of(const ArraySchema& array) {
  std::error_code ignored;
  const auto bytes = std::filesystem::file_size(split_member(array.name).first, ignored);
  return {array.name, array.type(), ignored ? 0 : static_cast<std::int64_t>(bytes)};
}

namespace {

constexpr std::int64_t kChunk = 256;  // numbers that are converted together, on the stack

[[noreturn]] void fail_too_large(const Array& array, std::int64_t row, double value) {
  throw UserError(array.name + ": row " + std::to_string(row) + " (from 0) holds " +
                  short_number(value) +
                  ", too large for precision f32; scale the data or use precision: f64");
}

// Throws where a scaled number is beyond float32. The extremes of the columns tell whether to look.
void check_fits_f32(const Array& array, TableStatistics& statistics) {
  constexpr double kLargest = std::numeric_limits<float>::max();
  const std::int64_t width = array.width();
  const auto beyond = [](double v) { return std::abs(v) > kLargest; };
  for (std::vector<double>* extremes : {&statistics.low, &statistics.high}) {
    statistics.scaling.apply(0, std::ssize(*extremes), extremes->data());
  }
  if (std::ranges::none_of(statistics.low, beyond) && std::ranges::none_of(statistics.high, beyond))
    return;
  std::vector<double> scaled(static_cast<std::size_t>(width));
  for_each_block(array, [&](std::int64_t first, std::int64_t rows, std::span<const double> values) {
    for (std::int64_t row = 0; row < rows; ++row) {
      std::copy_n(values.begin() + row * width, width, scaled.begin());
      statistics.scaling.apply(0, width, scaled.data());
      const auto large = std::ranges::find_if(scaled, beyond);
      if (large != scaled.end()) fail_too_large(array, first + row, *large);
    }
  });
}

// What each byte becomes, for types of one byte: scaling them is one look-up per number.
std::vector<float> table_of_bytes(const Array& array, const Scaling& scaling) {
  if (array.element->bytes != 1 || !scaling.mean.empty()) return {};
  std::vector<float> table(256);
  for (std::size_t i = 0; i < table.size(); ++i) {
    const auto byte = static_cast<std::byte>(i);
    double value = 0;
    array.element->to_f64(&byte, 1, &value);
    scaling.apply(0, 1, &value);
    table[i] = static_cast<float>(value);
  }
  return table;
}

}  // namespace

Rows::Rows(Array array, TableStatistics statistics, Precision precision)
    : array_(std::move(array)), width_(array_.width()), single_(precision != Precision::f64) {
  if (single_) check_fits_f32(array_, statistics);
  scaling_ = std::move(statistics.scaling);
  by_byte_ = table_of_bytes(array_, scaling_);
}

template <class To>
void Rows::copy_scaled(std::int64_t first, To* out) const {
  double values[kChunk];
  for (std::int64_t column = 0; column < width_; column += kChunk) {
    const std::int64_t count = std::min(kChunk, width_ - column);
    array_.read(first + column, count, values);
    scaling_.apply(column, count, values);
    for (std::int64_t i = 0; i < count; ++i) {
      out[column + i] =
          single_ ? static_cast<To>(static_cast<float>(values[i])) : static_cast<To>(values[i]);
    }
  }
}

void Rows::copy(std::int64_t row, Precision precision, std::byte* out,
                std::int64_t position) const {
  const std::int64_t first = row * width_, to = position * width_;
  if (precision == Precision::f64) {
    copy_scaled(first, reinterpret_cast<double*>(out) + to);
    return;
  }
  float* floats = reinterpret_cast<float*>(out) + to;
  if (!by_byte_.empty()) {
    const std::byte* from = array_.at(first);
    for (std::int64_t i = 0; i < width_; ++i)
      floats[i] = by_byte_[std::to_integer<std::size_t>(from[i])];
  } else if (scaling_.none()) {
    array_.read(first, width_, floats);
  } else {
    copy_scaled(first, floats);
  }
}

void Rows::release(std::int64_t begin_row, std::int64_t end_row) const {
  const auto row_bytes = static_cast<std::size_t>(width_) * array_.element->bytes;
  array_.bytes.release(static_cast<std::size_t>(begin_row) * row_bytes,
                       static_cast<std::size_t>(end_row - begin_row) * row_bytes);
}

}  // namespace mixflow
