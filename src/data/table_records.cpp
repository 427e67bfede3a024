#include "data/table_records.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <limits>

#include "util/error.h"

namespace mixflow {

bool RecordReader::accept(char c) {
  if (at_ == text_.size() || text_[at_] != c) return false;
  ++at_;
  return true;
}

bool RecordReader::accept_separator() {
  if (separator_ != ' ') return accept(separator_);
  const std::size_t before = at_;
  while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
  return at_ > before && !at_end_of_line();
}

void RecordReader::skip_blanks() {
  while (at_ < text_.size() && is_blank(text_[at_])) ++at_;
}

void RecordReader::end_line() {
  accept('\r');
  accept('\n');
  ++line_;
  line_begin_ = at_;
}

bool RecordReader::next(TableRecord& record) {
  while (at_ < text_.size()) {
    record.line = line_;
    record.cells.clear();
    record.unescaped.clear();
    if (separator_ == ' ') accept_separator();  // an indented line
    do {
      record.cells.push_back(cell(record));
    } while (accept_separator());
    end_line();
    const bool blank = record.cells.size() == 1 && record.cells[0].text.empty();
    if (!blank) return true;
  }
  return false;
}

TableCell RecordReader::cell(TableRecord& record) {
  skip_blanks();
  TableCell result{"", column()};
  if (accept('"')) {
    result.text = quoted(record, result.column);
    if (separator_ != ' ') skip_blanks();
    const bool ends = at_end_of_line() || text_[at_] == separator_ ||
                      (separator_ == ' ' && text_[at_] == '\t');
    if (!ends) {
      throw UserError(table_place(name_, line_, column()) +
                      "expected a separator after the closing quote");
    }
    return result;
  }
  const std::size_t begin = at_;
  while (!at_end_of_line() && text_[at_] != separator_ &&
         !(separator_ == ' ' && text_[at_] == '\t')) {
    ++at_;
  }
  std::size_t end = at_;
  while (end > begin && is_blank(text_[end - 1])) --end;
  result.text = text_.substr(begin, end - begin);
  return result;
}

std::string_view RecordReader::quoted(TableRecord& record, std::size_t column_of_quote) {
  const std::size_t line_of_quote = line_, begin = at_;
  bool escaped = false;
  while (at_ < text_.size()) {
    const char c = text_[at_++];
    if (c == '"') {
      if (accept('"')) {
        escaped = true;
        continue;
      }
      const std::string_view inside = text_.substr(begin, at_ - 1 - begin);
      if (!escaped) return inside;
      std::string& text = record.unescaped.emplace_back();
      for (std::size_t i = 0; i < inside.size(); ++i) {
        text += inside[i];
        if (inside[i] == '"') ++i;
      }
      return text;
    }
    if (c == '\n') {
      ++line_;
      line_begin_ = at_;
    }
  }
  throw UserError(table_place(name_, line_of_quote, column_of_quote) +
                  "this quote is never closed");
}

std::string table_place(const std::string& name, std::size_t line, std::size_t column) {
  return name + ":" + std::to_string(line) + ":" + std::to_string(column) + ": ";
}

std::optional<double> parse_number(std::string_view text, char decimal) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  if (text.starts_with('+')) text.remove_prefix(1);
  std::array<char, 64> changed;
  if (decimal == ',' && text.find_first_of(",.") != std::string_view::npos) {
    if (text.size() > changed.size() || text.find('.') != std::string_view::npos) return {};
    std::ranges::replace_copy(text, changed.begin(), ',', '.');
    text = {changed.data(), text.size()};
  }
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size() || text.empty()) return {};
  if (error == std::errc{}) return value;
  if (error != std::errc::result_out_of_range) return {};
  // Too large or too small: a number all the same, infinite or next to 0.
  value = std::strtod(std::string(text).c_str(), nullptr);
  return value;
}

bool is_missing(std::string_view text) {
  constexpr std::array<std::string_view, 16> kMissing = {
      "",    "NA",   "NaN", "nan",  "NAN",  "-NaN", "-nan", "N/A",
      "n/a", "#N/A", "#NA", "<NA>", "null", "NULL", "None", "?"};
  return text.size() <= 4 && std::ranges::find(kMissing, text) != kMissing.end();
}

namespace {

// How well a separator suits.
struct Suits {
  bool evenly = false;
  double numbers = 0;  // share of cells
  std::size_t cells = 1;
};

constexpr std::size_t kSample = 64 << 10, kSampleRecords = 50;

std::vector<TableRecord> sample(std::string_view begin, char separator, const std::string& name) {
  std::vector<TableRecord> records;
  RecordReader reader(begin, separator, name, 1);
  TableRecord record;
  try {
    while (records.size() < kSampleRecords && reader.next(record)) {
      records.push_back(std::move(record));
      record = {};
    }
  } catch (const UserError&) {
    // Quotes do not fit this separator; with the one that is taken, they are an error.
  }
  return records;
}

Suits how_well(const std::vector<TableRecord>& records) {
  Suits suits;
  if (records.empty()) return suits;
  // The first record may be a header, of which R leaves out the cell above the rows' names.
  const TableRecord& last = records.back();
  suits.cells = last.cells.size();
  suits.evenly = suits.cells > 1 && std::ranges::all_of(records, [&](const TableRecord& record) {
                   const bool first = &record == &records.front();
                   return record.cells.size() == suits.cells ||
                          (first && record.cells.size() + 1 == suits.cells);
                 });
  std::size_t cells = 0, numbers = 0;
  for (const TableRecord& record : records) {
    for (const TableCell& cell : record.cells) {
      ++cells;
      const bool number = parse_number(cell.text, '.') || parse_number(cell.text, ',');
      if (number || is_missing(cell.text)) ++numbers;
    }
  }
  suits.numbers = static_cast<double>(numbers) / static_cast<double>(cells);
  return suits;
}

// `decimal` separates nothing; 0: not known.
char guess_separator(std::string_view begin, char decimal, const std::string& name) {
  char best = decimal == ',' ? ';' : ',';
  Suits best_suits;
  for (const char separator : {',', ';', '\t', '|', ' '}) {
    if (separator == decimal) continue;
    const Suits suits = how_well(sample(begin, separator, name));
    if (!suits.evenly) continue;
    // Blanks come inside of texts, so they separate only where nothing else does.
    if (separator == ' ' && best_suits.evenly) continue;
    const bool better = !best_suits.evenly || suits.numbers > best_suits.numbers + 0.05 ||
                        (suits.numbers > best_suits.numbers - 0.05 &&
                         suits.cells > best_suits.cells);
    if (!better) continue;
    best = separator;
    best_suits = suits;
  }
  return best;
}

char guess_decimal(std::string_view begin, char separator, const std::string& name) {
  if (separator == ',') return '.';
  std::size_t commas = 0, points = 0;
  for (const TableRecord& record : sample(begin, separator, name)) {
    for (const TableCell& cell : record.cells) {
      const bool has_comma = cell.text.find(',') != std::string_view::npos;
      const bool has_point = cell.text.find('.') != std::string_view::npos;
      if (has_comma && parse_number(cell.text, ',')) ++commas;
      if (has_point && parse_number(cell.text, '.')) ++points;
    }
  }
  return commas > points ? ',' : '.';
}

}  // namespace

TableForm guess_form(std::string_view begin, TableForm known, const std::string& name) {
  if (begin.size() > kSample) {
    const std::size_t end = begin.find('\n', kSample);
    if (end != std::string_view::npos) begin = begin.substr(0, end + 1);
  }
  if (known.separator == '\0') known.separator = guess_separator(begin, known.decimal, name);
  if (known.decimal == '\0') known.decimal = guess_decimal(begin, known.separator, name);
  return known;
}

}  // namespace mixflow
