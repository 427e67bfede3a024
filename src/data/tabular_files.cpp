#include "data/tabular_files.h"

#include <algorithm>
#include <string>
#include <utility>

#include "config/load.h"
#include "config/table_file.h"
#include "data/locate.h"
#include "util/error.h"

namespace mixflow {

namespace {

struct Named {
  std::string key, path;
};

// The files of x (or y): its own, then those of validation and test, as far as there are any.
std::vector<Named> files_of(const Named& main, const Named& validation, const Named& test,
                            const Config& config) {
  std::vector<Named> files;
  for (const Named& file : {main, validation, test}) {
    if (file.path.empty()) continue;
    existing(file.path, config, file.key.c_str());
    if (is_table_file(file.path) != is_table_file(main.path)) {
      throw UserError(origin(config, file.key) + ": " + file.path +
                      " is not of the same kind as " + main.path +
                      "; expected tables of text, or arrays, in both");
    }
    files.push_back(file);
  }
  return files;
}

std::vector<std::string> paths_of(const std::vector<Named>& files) {
  std::vector<std::string> paths;
  for (const Named& file : files) paths.push_back(file.path);
  return paths;
}

// Numbers (or codes of texts) of arrays one below the other, in the type of the first if all have it.
Array stacked(std::vector<Array> parts) {
  if (parts.size() == 1) return std::move(parts[0]);
  const auto same = [&](const Array& part) { return part.element == parts[0].element; };
  const bool texts = parts[0].element->kind == ElementType::Kind::text;
  Shape shape = parts[0].shape;
  shape[0] = 0;
  for (const Array& part : parts) {
    if (part.shape.size() != shape.size() || part.width() != parts[0].width()) {
      throw UserError(part.name + ": found " + part.type() + ", expected rows like those of " +
                      parts[0].name + ", " + parts[0].type());
    }
    shape[0] += part.rows();
  }
  const bool any_text = std::ranges::any_of(parts, [](const Array& part) {
    return part.element->kind == ElementType::Kind::text;
  });
  if (any_text) {
    TextColumn column;
    for (const Array& part : parts) {
      if (!texts || !same(part)) {
        throw UserError(part.name + ": found " + part.type() + " beside " + parts[0].type() + " in " +
                        parts[0].name + "; expected texts in both or numbers in both");
      }
      for (const double code : values_of(part)) {
        column.add(part.texts[static_cast<std::size_t>(code)]);
      }
    }
    Array array = column.finish(parts[0].name);
    array.shape = shape;
    return array;
  }
  if (!std::ranges::all_of(parts, same)) {
    std::vector<double> values;
    for (const Array& part : parts) {
      const std::vector<double> more = values_of(part);
      values.insert(values.end(), more.begin(), more.end());
    }
    return number_array(parts[0].name, shape, std::move(values));
  }
  std::vector<std::byte> bytes;
  std::size_t size = 0;
  for (const Array& part : parts) size += part.bytes.size();
  bytes.reserve(size);
  for (const Array& part : parts) {
    const auto from = part.bytes.span();
    bytes.insert(bytes.end(), from.begin(), from.end());
  }
  Array array;
  static_cast<ArraySchema&>(array) = parts[0];
  array.shape = shape;
  array.owned_bytes = std::ssize(bytes);
  array.bytes = SharedBytes::own(std::move(bytes));
  return array;
}

[[noreturn]] void fail_scalar(const ArraySchema& array) {
  throw UserError(array.name + ": found " + array.type() + ", expected one row per example");
}

struct Stacked {
  Array array;                     // without numbers in an outline of x
  std::vector<std::int64_t> rows;  // of each file
};

Stacked read_arrays(const std::vector<Named>& files, TabularOutline& outline) {
  std::vector<Array> parts;
  Stacked result;
  for (const Named& file : files) {
    parts.push_back(read_array(file.path));
    if (parts.back().shape.empty()) fail_scalar(parts.back());
    result.rows.push_back(parts.back().rows());
    outline.files.push_back(file_of(parts.back()));
  }
  result.array = stacked(std::move(parts));
  return result;
}

// Headers alone where there is one file.
Stacked outline_arrays(const std::vector<Named>& files, TabularOutline& outline) {
  if (files.size() > 1) {
    Stacked result = read_arrays(files, outline);
    result.array.bytes = {};
    return result;
  }
  Stacked result;
  static_cast<ArraySchema&>(result.array) = read_array_schema(files[0].path);
  if (result.array.shape.empty()) fail_scalar(result.array);
  result.rows.push_back(result.array.rows());
  outline.files.push_back(file_of(result.array));
  return result;
}

void take_words(CsvTable& table, TabularOutline& outline) {
  std::ranges::move(table.files, std::back_inserter(outline.files));
  std::ranges::move(table.notes, std::back_inserter(outline.notes));
  table.files.clear();
  table.notes.clear();
}

// y of files of its own.
Stacked read_targets(const std::vector<Named>& files, const TabularData& data,
                     TabularOutline& outline) {
  if (!is_table_file(files[0].path)) return read_arrays(files, outline);
  CsvChoice choice{.form = data.csv, .target = data.target_column, .only_target = true};
  choice.form.missing = "error";  // x's rows stay
  choice.text_target = data.target == Target::classification;
  CsvTable table = read_csv(paths_of(files), choice);
  take_words(table, outline);
  return {table.y ? *table.y : table.x(), table.rows};
}

std::shared_ptr<CsvTable> read_examples(const std::vector<Named>& files, const TabularData& data,
                                        const Config& config, bool outline) {
  CsvChoice choice{.form = data.csv,
                   .target = data.y.empty() ? data.target_column : "",
                   .text_target = data.target == Target::classification,
                   .columns = data.columns,
                   .ignore = data.ignore,
                   .outline = outline};
  // What is scaled is scaled in double.
  choice.single = config.precision != Precision::f64 && data.normalize == "none";
  return std::make_shared<CsvTable>(read_csv(paths_of(files), choice));
}

void check_file_lengths(const std::vector<std::int64_t>& x, const std::vector<std::int64_t>& y,
                        const std::vector<Named>& x_files, const std::vector<Named>& y_files) {
  if (x.size() == 1) return;  // their shapes tell
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (x[i] == y[i]) continue;
    throw UserError(x_files[i].path + " and " + y_files[i].path + " differ in length: " +
                    std::to_string(x[i]) + " and " + std::to_string(y[i]) +
                    " rows; expected one target per example");
  }
}

FileRows by_split(const std::vector<std::int64_t>& rows, const TabularData& data) {
  FileRows result{rows[0], 0, 0};
  std::size_t next = 1;
  if (!data.validation_x.empty()) result[1] = rows[next++];
  if (!data.test_x.empty()) result[2] = rows[next];
  return result;
}

TabularSet read(const TabularData& data, const Config& config, bool outline_only) {
  TabularSet set;
  TabularOutline& outline = set.outline;
  const std::vector<Named> x_files =
      files_of({"data.x", data.x}, {"data.validation_x", data.validation_x},
               {"data.test_x", data.test_x}, config);
  const std::vector<Named> y_files =
      files_of({"data.y", data.y}, {"data.validation_y", data.validation_y},
               {"data.test_y", data.test_y}, config);
  Stacked x, y;
  if (is_table_file(data.x)) {
    set.table = read_examples(x_files, data, config, outline_only);
    take_words(*set.table, outline);
    static_cast<ArraySchema&>(x.array) = set.table->schema;
    if (!outline_only) x.array = set.table->x();
    x.rows = set.table->rows;
    if (set.table->y) y = {std::move(*set.table->y), x.rows};
  } else {
    x = outline_only ? outline_arrays(x_files, outline) : read_arrays(x_files, outline);
  }
  if (!y_files.empty()) y = read_targets(y_files, data, outline);
  check_file_lengths(x.rows, y.rows, x_files, y_files);
  check_shapes(x.array, y.array);
  outline.x = x.array;
  outline.y = std::move(y.array);
  outline.rows = by_split(x.rows, data);
  set.x = std::move(x.array);
  return set;
}

}  // namespace

void TabularSet::fill_missing(std::span<const std::int64_t> of) {
  if (!table) return;
  table->fill_missing(of);
  take_words(*table, outline);
}

TabularSet read_tabular(const TabularData& data, const Config& config) {
  return read(data, config, false);
}

TabularOutline outline_of(const TabularData& data, const Config& config) {
  return read(data, config, true).outline;
}

}  // namespace mixflow
