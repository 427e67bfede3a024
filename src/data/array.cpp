#include "data/array.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>

#include "config/table_file.h"
#include "data/csv.h"
#include "data/npy.h"
#include "data/zip.h"
#include "util/error.h"

namespace mixflow {

namespace fs = std::filesystem;

namespace {

std::string position(const Array& array, std::int64_t index) {
  const std::int64_t width = array.width();
  std::string text = "row " + std::to_string(index / width);
  if (array.shape.size() > 1) text += ", column " + std::to_string(index % width);
  return text + " (from 0)";
}

[[noreturn]] void fail_extension(const std::string& path, const std::string& extension) {
  throw UserError(path + ": expected a .npy, .npz:member or .csv file" +
                  (extension.empty() ? "" : ", found " + extension));
}

Array read_table(const std::string& path) { return read_csv(std::span(&path, 1), {}).x(); }

// So much of a member holds any header.
constexpr std::size_t kHeaderBytes = 1 << 16;

}  // namespace

std::int64_t ArraySchema::width() const {
  std::int64_t width = 1;
  for (std::size_t axis = 1; axis < shape.size(); ++axis) width *= shape[axis];
  return width;
}

std::string ArraySchema::type() const { return std::string(element->name) + to_string(shape); }

const std::byte* Array::at(std::int64_t first) const {
  return bytes.data() + static_cast<std::size_t>(first) * element->bytes;
}

void Array::read(std::int64_t first, std::int64_t count, double* to) const {
  element->to_f64(at(first), count, to);
}

void Array::read(std::int64_t first, std::int64_t count, float* to) const {
  element->to_f32(at(first), count, to);
}

Array number_array(std::string name, Shape shape, std::vector<double> values) {
  Array array;
  array.name = std::move(name);
  array.shape = std::move(shape);
  MIXFLOW_CHECK(array.elements() == std::ssize(values), "one value per element");
  auto kept = std::make_shared<const std::vector<double>>(std::move(values));
  const std::span<const std::byte> bytes = std::as_bytes(std::span(*kept));
  array.owned_bytes = std::ssize(bytes);
  array.bytes = SharedBytes::keep(std::move(kept), bytes);
  return array;
}

std::vector<double> values_of(const Array& array) {
  std::vector<double> values(static_cast<std::size_t>(array.elements()));
  array.read(0, array.elements(), values.data());
  return values;
}

void TextColumn::add(std::string_view text) {
  const auto next = static_cast<std::int32_t>(texts_.size());
  auto found = codes_.find(text);
  if (found == codes_.end()) {
    found = codes_.emplace(text, next).first;
    texts_.emplace_back(text);
  }
  const auto* code = reinterpret_cast<const std::byte*>(&found->second);
  of_row_.insert(of_row_.end(), code, code + sizeof(std::int32_t));
}

Array TextColumn::finish(std::string name) {
  Array array;
  array.name = std::move(name);
  array.element = &text_element();
  array.shape = {static_cast<std::int64_t>(of_row_.size() / sizeof(std::int32_t))};
  array.owned_bytes = std::ssize(of_row_);
  array.bytes = SharedBytes::own(std::move(of_row_));
  array.texts = std::move(texts_);
  return array;
}

void for_each_block(
    const Array& array,
    const std::function<void(std::int64_t, std::int64_t, std::span<const double>)>& see) {
  constexpr std::int64_t kBlock = 1 << 17;  // numbers
  const std::int64_t width = array.width();
  if (array.elements() == 0) return;
  const std::int64_t most = std::max<std::int64_t>(kBlock / width, 1);
  std::vector<double> values(static_cast<std::size_t>(std::min(most, array.rows()) * width));
  for (std::int64_t row = 0; row < array.rows(); row += most) {
    const std::int64_t rows = std::min(most, array.rows() - row);
    array.read(row * width, rows * width, values.data());
    array.bytes.release(static_cast<std::size_t>(row * width) * array.element->bytes,
                        static_cast<std::size_t>(rows * width) * array.element->bytes);
    see(row, rows, std::span(values).first(static_cast<std::size_t>(rows * width)));
  }
}

std::pair<std::string, std::string> split_member(const std::string& path) {
  const std::size_t at = path.rfind(".npz:");
  if (at == std::string::npos) return {path, ""};
  return {path.substr(0, at + 4), path.substr(at + 5)};
}

Array read_array(const std::string& path) {
  const auto [file, member] = split_member(path);
  const std::string extension = fs::path(file).extension().string();
  if (extension == ".npy") return parse_npy(SharedBytes::map(file), path);
  if (is_table_file(file)) return read_table(file);
  if (extension != ".npz") fail_extension(path, extension);
  return parse_npy(read_zip_member(SharedBytes::map(file), file, member), path);
}

ArraySchema read_array_schema(const std::string& path) {
  const auto [file, member] = split_member(path);
  const std::string extension = fs::path(file).extension().string();
  if (extension == ".npy") {
    const SharedBytes bytes = SharedBytes::map(file);
    return parse_npy_schema(bytes.span(), bytes.size(), path, 0);
  }
  if (is_table_file(file)) return read_table(file);
  if (extension != ".npz") fail_extension(path, extension);
  const SharedBytes archive = SharedBytes::map(file);
  const ZipMember found = find_zip_member(archive, file, member);
  const std::int64_t owned = found.deflated ? static_cast<std::int64_t>(found.size) : 0;
  return parse_npy_schema(unpack_begin(found, kHeaderBytes), found.size, path, owned);
}

void fail_not_finite(const Array& array, std::int64_t index, double value) {
  const char* what = std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
  throw UserError(array.name + ": " + what + " at " + position(array, index) + " of " +
                  array.type() + "; every value must be finite");
}

void check_finite(const Array& array) {
  if (array.element->kind != ElementType::Kind::floating) return;
  for_each_block(array, [&](std::int64_t row, std::int64_t, std::span<const double> values) {
    const auto bad = std::ranges::find_if(values, [](double v) { return !std::isfinite(v); });
    if (bad == values.end()) return;
    fail_not_finite(array, row * array.width() + (bad - values.begin()), *bad);
  });
}

}  // namespace mixflow
