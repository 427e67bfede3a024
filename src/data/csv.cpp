#include "data/csv.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "util/error.h"

namespace mixflow {

namespace {

struct Cell {
  std::string text;
  std::size_t column = 1;  // where it starts in its line, from 1
};

struct Row {
  std::vector<Cell> cells;
  std::size_t line = 1;
};

std::string where(const std::string& name, std::size_t line, std::size_t column) {
  return name + ":" + std::to_string(line) + ":" + std::to_string(column) + ": ";
}

class RowReader {
 public:
  RowReader(std::string_view text, const std::string& name) : text_(text), name_(name) {
    constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
    if (text_.starts_with(kByteOrderMark)) text_.remove_prefix(kByteOrderMark.size());
  }

  // The next row that is not blank, or false at the end.
  bool next(Row& row) {
    while (at_ < text_.size()) {
      row.line = line_;
      row.cells.clear();
      do {
        row.cells.push_back(cell());
      } while (accept(','));
      end_line();
      const bool blank =
          row.cells.size() == 1 && row.cells[0].text.find_first_not_of(" \t") == std::string::npos;
      if (!blank) return true;
    }
    return false;
  }

 private:
  bool at_end_of_line() const {
    return at_ == text_.size() || text_[at_] == '\n' || text_[at_] == '\r';
  }
  bool accept(char c) {
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  std::size_t column() const { return at_ - line_begin_ + 1; }
  void end_line() {
    accept('\r');
    accept('\n');
    ++line_;
    line_begin_ = at_;
  }
  Cell cell() {
    Cell result{"", column()};
    if (accept('"')) {
      result.text = quoted(result.column);
      if (!at_end_of_line() && text_[at_] != ',') {
        throw UserError(where(name_, line_, column()) + "expected a comma after the closing quote");
      }
      return result;
    }
    const std::size_t begin = at_;
    while (!at_end_of_line() && text_[at_] != ',') ++at_;
    result.text = text_.substr(begin, at_ - begin);
    return result;
  }
  std::string quoted(std::size_t column_of_quote) {
    const std::size_t line_of_quote = line_;
    std::string result;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '"' && !accept('"')) return result;
      if (c == '\n') {
        ++line_;
        line_begin_ = at_;
      }
      result += c;
    }
    throw UserError(where(name_, line_of_quote, column_of_quote) + "this quote is never closed");
  }

  std::string_view text_;
  const std::string& name_;
  std::size_t at_ = 0;
  std::size_t line_ = 1;
  std::size_t line_begin_ = 0;
};

std::string_view trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

std::optional<double> to_number(std::string_view text) {
  text = trim(text);
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

double number_in(const Cell& cell, const Row& row, const std::string& name) {
  const std::optional<double> value = to_number(cell.text);
  if (!value) {
    throw UserError(where(name, row.line, cell.column) + "expected a number, found " +
                    (trim(cell.text).empty() ? "an empty cell" : "\"" + cell.text + "\""));
  }
  if (!std::isfinite(*value)) {
    throw UserError(where(name, row.line, cell.column) + "every value must be finite, found " +
                    cell.text);
  }
  return *value;
}

bool is_header(const Row& row, const std::string& header_cell) {
  const auto is_named = [&](const Cell& cell) { return trim(cell.text) == header_cell; };
  const auto is_number = [](const Cell& cell) { return to_number(cell.text).has_value(); };
  if (!header_cell.empty() && std::any_of(row.cells.begin(), row.cells.end(), is_named))
    return true;
  return std::none_of(row.cells.begin(), row.cells.end(), is_number);
}

}  // namespace

CsvTable parse_csv(std::string_view text, const std::string& name, const std::string& header_cell) {
  CsvTable table;
  std::vector<double> values;
  RowReader reader(text, name);
  Row row;
  std::size_t columns = 0, first_line = 0;
  std::int64_t rows = 0;
  while (reader.next(row)) {
    if (columns == 0) {
      columns = row.cells.size();
      first_line = row.line;
      if (is_header(row, header_cell)) {
        for (const Cell& cell : row.cells) table.header.emplace_back(trim(cell.text));
        continue;
      }
    }
    if (row.cells.size() != columns) {
      throw UserError(where(name, row.line, 1) + std::to_string(row.cells.size()) +
                      " cells, expected " + std::to_string(columns) + " as in line " +
                      std::to_string(first_line));
    }
    for (const Cell& cell : row.cells) values.push_back(number_in(cell, row, name));
    ++rows;
  }
  if (rows == 0) throw UserError(name + ": holds no rows of numbers");
  table.numbers = number_array(name, {rows, static_cast<std::int64_t>(columns)}, std::move(values));
  return table;
}

}  // namespace mixflow
