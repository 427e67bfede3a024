// Records of separated text (RFC 4180: quoted cells, "" for a quote, CRLF or LF), and guesses at
// how a table is written down.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mixflow {

struct TableCell {
  std::string_view text;   // without quotes around it and blanks around those
  std::size_t column = 1;  // where it starts in its line, in bytes from 1
};

// Moved, never copied: cells may point into `unescaped`.
struct TableRecord {
  std::vector<TableCell> cells;
  std::size_t line = 1;
  std::deque<std::string> unescaped;  // texts of cells that held ""

  TableRecord() = default;
  TableRecord(TableRecord&&) = default;
  TableRecord& operator=(TableRecord&&) = default;
};

// ' ' stands for runs of blanks and tabs.
class RecordReader {
 public:
  // `name` is the file, for messages, `line` that of the text's beginning; both outlive the reader.
  RecordReader(std::string_view text, char separator, const std::string& name, std::size_t line)
      : text_(text), separator_(separator), name_(name), line_(line) {}

  // The next record that is not blank, or false at the end. Its texts are those of `text`. Throws
  // UserError as name:line:column for quotes that are not closed or followed by more text.
  bool next(TableRecord& record);
  std::size_t line() const { return line_; }

 private:
  bool at_end_of_line() const {
    return at_ == text_.size() || text_[at_] == '\n' || text_[at_] == '\r';
  }
  bool is_blank(char c) const { return (c == ' ' || c == '\t') && c != separator_; }
  bool accept(char c);
  bool accept_separator();
  void skip_blanks();
  void end_line();
  TableCell cell(TableRecord& record);
  std::string_view quoted(TableRecord& record, std::size_t column_of_quote);
  std::size_t column() const { return at_ - line_begin_ + 1; }

  std::string_view text_;
  char separator_;
  const std::string& name_;
  std::size_t at_ = 0;
  std::size_t line_;
  std::size_t line_begin_ = 0;
};

// "d.csv:3:5: "
std::string table_place(const std::string& name, std::size_t line, std::size_t column);

// A number, with blanks and a sign before it; `decimal` is '.' or ','. nullopt for anything else;
// what is written as nan or inf is that.
std::optional<double> parse_number(std::string_view text, char decimal);
// Empty, NA, NaN, null, ? and what else pandas takes for a missing value.
bool is_missing(std::string_view text);

struct TableForm {
  char separator = ',';
  char decimal = '.';
};
// How the text that begins with `begin` (whole records) is written down: the separator by which its
// records have the same number of cells, most of them numbers, and the decimal sign of these. What
// is 0 in `known` is guessed.
TableForm guess_form(std::string_view begin, TableForm known, const std::string& name);

}  // namespace mixflow
