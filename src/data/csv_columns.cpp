#include "data/csv_columns.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "util/error.h"
#include "util/text.h"

namespace mixflow {

namespace {

using Role = CsvColumns::Role;

// What pandas calls a column whose header is empty.
bool is_unnamed(std::string_view name) { return name.empty() || name.starts_with("Unnamed: "); }

std::string header_text(const std::vector<std::string>& header) {
  constexpr std::size_t kMost = 30;
  std::string text;
  for (std::size_t i = 0; i < std::min(header.size(), kMost); ++i) {
    text += (i == 0 ? "" : ", ") + (header[i].empty() ? "(no name)" : header[i]);
  }
  return header.size() > kMost ? text + ", .." : text;
}

// The column that `called` names: by its name, else by its number.
std::size_t find_column(const std::string& file, const std::vector<std::string>& header,
                        std::size_t cells, const std::string& called) {
  const auto found = std::ranges::find(header, called);
  if (found != header.end()) {
    if (std::find(found + 1, header.end(), called) != header.end()) {
      throw UserError(file + ": two columns are called " + in_quotes(called) +
                      "; name the one by its number, from 0");
    }
    return static_cast<std::size_t>(found - header.begin());
  }
  std::int64_t number = 0;
  const char* end = called.data() + called.size();
  const auto [stop, error] = std::from_chars(called.data(), end, number);
  const auto count = static_cast<std::int64_t>(cells);
  if (error == std::errc{} && stop == end) {
    if (number >= -count && number < count) {
      return static_cast<std::size_t>(number < 0 ? number + count : number);
    }
    throw UserError(file + ": no column " + called + "; it has " + std::to_string(cells) +
                    " columns, 0 .. " + std::to_string(cells - 1) + " or -1 for the last");
  }
  throw UserError(file + ": no column " + in_quotes(called) + "; " +
                  (header.empty()
                       ? "the file has no header row: name the column by its number, from 0, or "
                         "-1 for the last"
                       : "it has " + header_text(header)));
}

}  // namespace

std::string CsvColumns::name_of(std::size_t column) const {
  const std::string number = "column " + std::to_string(column);
  return header.empty() || header[column].empty() ? number
                                                  : number + " (" + in_quotes(header[column]) + ")";
}

bool is_header(const TableRecord& first, const TableRecord* second, const CsvChoice& choice,
               char decimal) {
  if (choice.form.header != "auto") return choice.form.header == "true";
  const auto is_number = [&](const TableCell& cell) {
    return parse_number(cell.text, decimal).has_value();
  };
  bool any_number = false;
  for (std::size_t i = 0; i < first.cells.size(); ++i) {
    const TableCell& cell = first.cells[i];
    // A number may call a column by its place.
    const auto called = [&](const std::string& name) {
      return name == cell.text && !is_number(cell);
    };
    if (called(choice.target) || std::ranges::any_of(choice.columns, called) ||
        std::ranges::any_of(choice.ignore, called)) {
      return true;
    }
    const bool number = is_number(cell);
    any_number = any_number || number;
    const bool above_number = second != nullptr && i < second->cells.size() &&
                              second->cells.size() == first.cells.size() &&
                              is_number(second->cells[i]);
    if (!number && !is_missing(cell.text) && above_number) return true;
  }
  return !any_number;
}

CsvColumns choose_columns(const std::string& name, std::vector<std::string> header,
                          std::size_t cells, const CsvChoice& choice) {
  CsvColumns columns;
  // R leaves out the header of the rows' names.
  if (header.size() + 1 == cells) header.insert(header.begin(), "");
  columns.header = std::move(header);
  const auto find = [&](const std::string& called) {
    return find_column(name, columns.header, cells, called);
  };
  std::vector<Role>& roles = columns.roles;
  roles.assign(cells, choice.columns.empty() ? Role::x : Role::ignored);
  for (const std::string& called : choice.columns) roles[find(called)] = Role::x;
  std::vector<bool> ignored(cells);
  for (const std::string& called : choice.ignore) {
    ignored[find(called)] = true;
    roles[find(called)] = Role::ignored;
  }
  if (choice.columns.empty() && !columns.header.empty()) {
    for (std::size_t i = 0; i < cells; ++i) {
      if (!is_unnamed(columns.header[i]) || ignored[i] || cells == 1) continue;
      roles[i] = i == 0 ? Role::ignored : Role::must_be_empty;
      if (i == 0) {
        columns.note = name + ": the first column has no name, so it is an index and no feature" +
                       "; data.columns would take it";
      }
    }
  }
  if (!choice.target.empty()) {
    const std::size_t target = find(choice.target);
    if (ignored[target]) {
      throw UserError(name + ": " + columns.name_of(target) +
                      " is both data.target_column and in data.ignore; remove it from one of them");
    }
    if (choice.only_target) std::ranges::fill(roles, Role::ignored);
    roles[target] = Role::y;
  } else if (choice.only_target && std::ranges::count(roles, Role::x) == 1) {
    *std::ranges::find(roles, Role::x) = Role::y;
  }
  for (std::size_t i = 0; i < cells; ++i) {
    if (roles[i] == Role::x) columns.x.push_back(i);
  }
  if (columns.x.empty() && !choice.only_target) {
    throw UserError(name + ": holds the target alone, expected further columns for x");
  }
  return columns;
}

}  // namespace mixflow
