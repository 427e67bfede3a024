// Batches of a source in buffers of exactly the right size, so that the sanitizer sees a write
// beyond them.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "bytes.h"
#include "data/source.h"
#include "util/file.h"

namespace mixflow {

using Numbers = std::vector<double>;

struct Batches {
  std::vector<Numbers> inner, outer;  // per field, in the order of fields(): x, y
  friend bool operator==(const Batches&, const Batches&) = default;
};

inline Numbers to_numbers(const std::vector<std::byte>& bytes, DType dtype) {
  const auto read = [&](auto example) {
    Numbers numbers;
    for (std::size_t at = 0; at < bytes.size(); at += sizeof(example)) {
      std::memcpy(&example, bytes.data() + at, sizeof(example));
      numbers.push_back(static_cast<double>(example));
    }
    return numbers;
  };
  if (dtype == DType::i32) return read(std::int32_t{});
  return dtype == DType::f32 ? read(float{}) : read(double{});
}

inline Batches fill(const TaskSource& source, Split split, std::uint64_t index, std::int64_t tasks,
                    std::int64_t steps, Precision precision = Precision::f64) {
  const std::int64_t inner_steps = source.same_batch_every_step() ? 1 : steps;
  const auto type_of = [&](const Field& field) {
    if (field.dtype == DType::i32) return DType::i32;
    return precision == Precision::f32 ? DType::f32 : DType::f64;
  };
  std::vector<std::vector<std::byte>> inner, outer;
  for (const Field& field : source.fields()) {
    const std::int64_t bytes = num_elements(field.shape) * dtype_bytes(type_of(field)) * tasks;
    inner.emplace_back(static_cast<std::size_t>(bytes * inner_steps * source.inner_batch()));
    outer.emplace_back(static_cast<std::size_t>(bytes * source.outer_batch(split)));
  }
  std::vector<std::byte*> inner_at, outer_at;
  for (auto& bytes : inner) inner_at.push_back(bytes.data());
  for (auto& bytes : outer) outer_at.push_back(bytes.data());
  for (std::int64_t task = 0; task < tasks; ++task)
    source.fill_task(split, index, task, steps, precision, inner_at, outer_at);

  Batches result;
  for (std::size_t f = 0; f < inner.size(); ++f) {
    result.inner.push_back(to_numbers(inner[f], type_of(source.fields()[f])));
    result.outer.push_back(to_numbers(outer[f], type_of(source.fields()[f])));
  }
  return result;
}

// x of `rows` rows with `width` columns: the row's number, then its negation and so on, so that a
// batch tells its rows.
inline void write_rows(const std::string& path, int rows, int width = 1) {
  std::vector<float> values;
  for (int row = 0; row < rows; ++row) {
    for (int c = 0; c < width; ++c) values.push_back(static_cast<float>(c % 2 == 0 ? row : -row));
  }
  write_atomically(path, npy("<f4", "(" + std::to_string(rows) + ", " + std::to_string(width) + ")",
                             raw(values)));
}

inline void write_labels(const std::string& path, const std::vector<std::int32_t>& labels) {
  write_atomically(path, npy("<i4", "(" + std::to_string(labels.size()) + ",)", raw(labels)));
}

// Labels 0, 1, .. classes-1, 0, 1, ..
inline std::vector<std::int32_t> cyclic_labels(int rows, int classes) {
  std::vector<std::int32_t> labels;
  for (int row = 0; row < rows; ++row) labels.push_back(row % classes);
  return labels;
}

}  // namespace mixflow
