#include "data/csv.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>

#include "data/csv_columns.h"
#include "data/table_records.h"
#include "data/table_text.h"
#include "util/error.h"
#include "util/memory.h"
#include "util/text.h"

namespace mixflow {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::optional<double> truth_value(std::string_view text) {
  for (const std::string_view word : {"true", "True", "TRUE"}) {
    if (text == word) return 1;
  }
  for (const std::string_view word : {"false", "False", "FALSE"}) {
    if (text == word) return 0;
  }
  return {};
}

// y as it is read: all texts, which become numbers if all of them are.
class TargetColumn {
 public:
  void add_text(std::string_view text) { texts_.add(text); }
  void add_number(double value) { numbers_.push_back(value); }

  Array finish(const std::string& name, char decimal, bool text) {
    if (!text) return numbers(name);
    Array array = texts_.finish(name);
    std::vector<double> values;
    for (const std::string& label : array.texts) {
      const std::optional<double> value = parse_number(label, decimal);
      if (!value) return array;
      values.push_back(*value);
    }
    for (const double code : values_of(array)) {
      numbers_.push_back(values[static_cast<std::size_t>(code)]);
    }
    return numbers(name);
  }

 private:
  Array numbers(const std::string& name) {
    const auto rows = static_cast<std::int64_t>(numbers_.size());
    return number_array(name, {rows, 1}, std::move(numbers_));
  }

  TextColumn texts_;
  std::vector<double> numbers_;
};

template <class Number>
class Reader {
 public:
  Reader(const CsvChoice& choice, CsvTable& table, std::vector<Number>& x)
      : choice_(choice), table_(table), x_(x) {}

  // `more` is the size of the files that follow.
  void read(const std::string& path, const TableText::Size& more) {
    name_ = path;
    TableText text(path);
    const TableText::Size size = text.size();
    std::string_view piece = text.next();
    const bool first_file = table_.rows.empty();
    form_ = guess_form(piece, known_form(), name_);
    std::size_t line = begin(piece, first_file);
    // No cell is shorter than its separator: as many as this there are at most, and what is not
    // used is never touched.
    const std::int64_t cells = std::min((size.lines + more.lines) * std::ssize(columns_.x),
                                        size.bytes + more.bytes + 1);
    if (first_file && !choice_.outline) reserve(cells);
    const std::int64_t rows_before = rows_;
    for (; !piece.empty(); piece = text.next()) {
      RecordReader records(piece, form_.separator, name_, line);
      while (records.next(record_)) {
        if (std::exchange(skip_header_, false)) continue;
        add(record_);
      }
      line = records.line();
    }
    if (rows_ == rows_before) {
      throw UserError(name_ + ": holds no rows of numbers" +
                      (dropped_ > 0 ? " without missing values" : ""));
    }
    table_.rows.push_back(rows_ - rows_before);
    note(text, size.bytes, rows_ - rows_before);
  }

  void finish() {
    if (std::ranges::find(columns_.roles, CsvColumns::Role::y) != columns_.roles.end()) {
      table_.y = y_.finish(table_.name + ":" + target_name(), form_.decimal, choice_.text_target);
    }
    for (const std::size_t i : columns_.x) {
      table_.names.push_back(columns_.header.empty() ? "column " + std::to_string(i)
                                                     : columns_.header[i]);
    }
    note_index();
  }

 private:
  TableForm known_form() const {
    TableForm form{'\0', '\0'};
    const std::string& separator = choice_.form.separator;
    if (separator == "comma") form.separator = ',';
    if (separator == "semicolon") form.separator = ';';
    if (separator == "tab") form.separator = '\t';
    if (separator == "space") form.separator = ' ';
    if (separator == "bar") form.separator = '|';
    if (choice_.form.decimal != "auto") form.decimal = choice_.form.decimal == "comma" ? ',' : '.';
    return form;
  }

  std::string target_name() const {
    const auto y = std::ranges::find(columns_.roles, CsvColumns::Role::y);
    const auto column = static_cast<std::size_t>(y - columns_.roles.begin());
    return columns_.header.empty() ? "column " + std::to_string(column) : columns_.header[column];
  }

  void reserve(std::int64_t cells) {
    const std::int64_t bytes = cells * static_cast<std::int64_t>(sizeof(Number));
    if (bytes > usable_memory_bytes()) {
      throw UserError(name_ + ": its numbers take " + std::to_string(bytes >> 20) +
                      " MiB, more than the " + std::to_string(usable_memory_bytes() >> 20) +
                      " MiB of memory that this process may use; read fewer columns by "
                      "data.columns");
    }
    x_.reserve(static_cast<std::size_t>(cells));
  }

  // Looks at the first two records: whether there is a header, and which columns there are. Returns
  // the line at which the text begins.
  std::size_t begin(std::string_view piece, bool first_file) {
    RecordReader records(piece, form_.separator, name_, 1);
    TableRecord first, second;
    if (!records.next(first)) throw UserError(name_ + ": holds no rows of numbers");
    const bool more = records.next(second);
    skip_header_ = is_header(first, more ? &second : nullptr, choice_, form_.decimal);
    std::vector<std::string> header;
    if (skip_header_) {
      for (const TableCell& cell : first.cells) header.emplace_back(cell.text);
    }
    first_line_ = first.line;
    const std::size_t cells = skip_header_ && more ? second.cells.size() : first.cells.size();
    const bool fits = header.empty() || header.size() == cells || header.size() + 1 == cells;
    CsvColumns columns =
        choose_columns(name_, std::move(header), fits ? cells : first.cells.size(), choice_);
    if (first_file) {
      columns_ = std::move(columns);
    } else {
      check_same(columns);
    }
    return 1;
  }

  void check_same(const CsvColumns& columns) const {
    if (columns.roles == columns_.roles && columns.header == columns_.header) return;
    std::string how = std::to_string(columns.roles.size()) + " columns, " + table_.name + " has " +
                      std::to_string(columns_.roles.size());
    for (std::size_t i = 0; i < columns.header.size() && i < columns_.header.size(); ++i) {
      if (columns.header[i] == columns_.header[i]) continue;
      how = columns.name_of(i) + " where " + table_.name + " has " + columns_.name_of(i);
      break;
    }
    throw UserError(name_ + ": has " + how + "; all files of a data set need the same columns");
  }

  void add(const TableRecord& record) {
    if (record.cells.size() != columns_.roles.size()) fail_length(record);
    row_.clear();
    for (const std::size_t column : columns_.x) {
      const TableCell& cell = record.cells[column];
      std::optional<double> value = parse_number(cell.text, form_.decimal);
      if (!value || !std::isfinite(*value)) value = odd(record, column, value);
      if (!value) return drop();
      const auto number = static_cast<Number>(*value);
      if (std::isinf(number)) fail_large(record, column);
      row_.push_back(number);
    }
    for (std::size_t i = 0; i < columns_.roles.size(); ++i) {
      if (columns_.roles[i] == CsvColumns::Role::y && !add_target(record, i)) return drop();
      if (columns_.roles[i] == CsvColumns::Role::must_be_empty && !record.cells[i].text.empty()) {
        throw UserError(place(record, i) + "column " + std::to_string(i) +
                        " has no name; leave it out by data.ignore: [" + std::to_string(i) +
                        "], or choose by data.columns");
      }
    }
    if (!columns_.x.empty()) watch_index(row_[0]);
    if (!choice_.outline) x_.insert(x_.end(), row_.begin(), row_.end());
    ++rows_;
  }

  // Whether the first column counts the rows, from 0 or from 1.
  void watch_index(Number value) {
    if (rows_ == 0) {
      first_count_ = value;
      counts_rows_ = columns_.x[0] == 0 && (value == 0 || value == 1);
    }
    counts_rows_ = counts_rows_ && value == static_cast<Number>(rows_) + first_count_;
  }

  void drop() { ++dropped_; }

  std::string place(const TableRecord& record, std::size_t column) const {
    return table_place(name_, record.line, record.cells[column].column);
  }

  // A cell that is no finite number: what it counts as, or nothing if its row is dropped.
  std::optional<double> odd(const TableRecord& record, std::size_t column,
                            std::optional<double> value) {
    const std::string_view text = record.cells[column].text;
    if (is_missing(text)) {
      if (choice_.form.missing == "error") fail_missing(record, column);
      if (choice_.form.missing == "drop") return {};
      ++table_.missing;
      return kNaN;
    }
    if (value) {
      throw UserError(place(record, column) + "every value must be finite, found " +
                      std::string(text));
    }
    if (const std::optional<double> truth = truth_value(text)) return truth;
    fail_text(record, column);
  }

  [[noreturn]] void fail_missing(const TableRecord& record, std::size_t column) const {
    const std::string_view text = record.cells[column].text;
    throw UserError(place(record, column) + "expected a number, found " +
                    (text.empty() ? "an empty cell" : in_quotes(text)) +
                    "; data.missing: drop leaves out such rows, mean fills in the column's mean");
  }

  [[noreturn]] void fail_text(const TableRecord& record, std::size_t column) const {
    const std::string_view text = record.cells[column].text;
    std::string way_out;
    const char other = form_.decimal == ',' ? '.' : ',';
    if (parse_number(text, other)) {
      way_out = std::string("; data.decimal: ") + (other == ',' ? "comma" : "point") +
                " reads it as a number";
    } else {
      const std::string called =
          columns_.header.empty() ? std::to_string(column) : columns_.header[column];
      way_out = "; data.ignore: [" + called + "] leaves the column out";
    }
    if (columns_.roles.size() == 1) way_out = "";
    throw UserError(place(record, column) + "expected a number, found " + in_quotes(text) + " in " +
                    columns_.name_of(column) + way_out);
  }

  [[noreturn]] void fail_large(const TableRecord& record, std::size_t column) const {
    throw UserError(place(record, column) + "holds " +
                    std::string(record.cells[column].text) +
                    ", too large for precision f32; scale the data or use precision: f64");
  }

  [[noreturn]] void fail_length(const TableRecord& record) const {
    const std::size_t found = record.cells.size(), expected = columns_.roles.size();
    std::string way_out;
    if (choice_.form.separator == "auto" && (found == 1 || expected == 1)) {
      way_out = "; if cells are separated by something else than " + separator_name() +
                ", say it by data.separator";
    }
    throw UserError(table_place(name_, record.line, 1) + std::to_string(found) +
                    " cells, expected " + std::to_string(expected) + " as in line " +
                    std::to_string(first_line_) + way_out);
  }

  // False if the row is dropped.
  bool add_target(const TableRecord& record, std::size_t column) {
    const std::string_view text = record.cells[column].text;
    if (is_missing(text)) {
      if (choice_.form.missing == "drop") return false;
      throw UserError(place(record, column) + "no target: found " +
                      (text.empty() ? "an empty cell" : in_quotes(text)) +
                      "; data.missing: drop leaves out such rows");
    }
    if (choice_.text_target) {
      y_.add_text(text);
      return true;
    }
    const std::optional<double> value = parse_number(text, form_.decimal);
    if (!value) fail_text(record, column);
    if (!std::isfinite(*value)) {
      throw UserError(place(record, column) + "every value must be finite, found " +
                      std::string(text));
    }
    y_.add_number(*value);
    return true;
  }

  std::string separator_name() const {
    switch (form_.separator) {
      case ';':
        return "semicolons";
      case '\t':
        return "tabs";
      case ' ':
        return "blanks";
      case '|':
        return "bars";
      default:
        return "commas";
    }
  }

  void note(const TableText& text, std::int64_t bytes, std::int64_t rows) {
    std::string content = std::to_string(rows) + " rows of " +
                          std::to_string(columns_.roles.size()) + " columns separated by " +
                          separator_name();
    if (form_.decimal == ',') content += ", decimal commas";
    content += columns_.header.empty() ? ", no header" : ", a header";
    if (!text.form().empty()) content += ", " + text.form();
    table_.files.push_back({name_, content, bytes});
    if (dropped_ > 0) {
      table_.notes.push_back(name_ + ": " + std::to_string(dropped_) +
                             " rows with missing values are left out");
    }
    dropped_ = 0;
    if (table_.rows.size() == 1 && !columns_.note.empty()) table_.notes.push_back(columns_.note);
  }

  void note_index() {
    constexpr std::int64_t kEnough = 8;
    if (!counts_rows_ || rows_ < kEnough || columns_.x.size() < 2) return;
    const std::string called = columns_.header.empty() ? "0" : columns_.header[0];
    table_.notes.push_back(table_.name + ": " + columns_.name_of(0) +
                           " counts the rows, but is a feature; if it is an index, data.ignore: [" +
                           called + "] leaves it out");
  }

  const CsvChoice& choice_;
  CsvTable& table_;
  std::vector<Number>& x_;
  std::string name_;
  TableForm form_;
  CsvColumns columns_;
  TargetColumn y_;
  TableRecord record_;
  std::vector<Number> row_;
  bool skip_header_ = false, counts_rows_ = false;
  Number first_count_ = 0;  // of x's first column
  std::size_t first_line_ = 1;
  std::int64_t rows_ = 0, dropped_ = 0;
};

template <class Number>
void read_all(std::span<const std::string> paths, const CsvChoice& choice, CsvTable& table,
              std::vector<Number>& x) {
  Reader<Number> reader(choice, table, x);
  TableText::Size more;
  for (const std::string& path : paths.subspan(1)) {
    const TableText::Size size = TableText(path).size();
    more.bytes += size.bytes;
    more.lines += size.lines;
  }
  for (const std::string& path : paths) {
    reader.read(path, more);
    more = {};
  }
  reader.finish();
}

template <class Number>
void fill(std::vector<Number>& x, const std::vector<std::string>& names, const std::string& file,
          std::span<const std::int64_t> of) {
  const std::size_t width = names.size();
  std::vector<double> sums(width), counts(width);
  for (const std::int64_t row : of) {
    for (std::size_t c = 0; c < width; ++c) {
      const Number value = x[static_cast<std::size_t>(row) * width + c];
      if (std::isnan(value)) continue;
      sums[c] += static_cast<double>(value);
      ++counts[c];
    }
  }
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!std::isnan(x[i])) continue;
    const std::size_t c = i % width;
    if (counts[c] == 0) {
      throw UserError(file + ": " + in_quotes(names[c]) +
                      " has no value in the training rows, so there is no mean to fill in; leave "
                      "the column out by data.ignore");
    }
    x[i] = static_cast<Number>(sums[c] / counts[c]);
  }
}

}  // namespace

std::int64_t CsvTable::all_rows() const {
  std::int64_t all = 0;
  for (const std::int64_t of_file : rows) all += of_file;
  return all;
}

void CsvTable::fill_missing(std::span<const std::int64_t> of) {
  if (missing == 0) return;
  f32 ? fill(*f32, names, name, of) : fill(*f64, names, name, of);
  notes.push_back(name + ": " + std::to_string(missing) +
                  " missing values are the means of their columns in the training rows");
}

Array CsvTable::x() const {
  Array array;
  static_cast<ArraySchema&>(array) = schema;
  array.bytes = f32 ? SharedBytes::keep(f32, std::as_bytes(std::span(*f32)))
                    : SharedBytes::keep(f64, std::as_bytes(std::span(*f64)));
  return array;
}

CsvTable read_csv(std::span<const std::string> paths, const CsvChoice& choice) {
  CsvTable table;
  table.name = paths[0];
  table.schema.name = paths[0];
  if (choice.single) {
    table.f32 = std::make_shared<std::vector<float>>();
    table.schema.element = element_type_of("float32");
    read_all(paths, choice, table, *table.f32);
  } else {
    table.f64 = std::make_shared<std::vector<double>>();
    read_all(paths, choice, table, *table.f64);
  }
  table.schema.shape = {table.all_rows(), std::ssize(table.names)};
  table.schema.owned_bytes =
      table.schema.elements() * static_cast<std::int64_t>(table.schema.element->bytes);
  return table;
}

}  // namespace mixflow
