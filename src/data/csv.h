// Tables of numbers as comma-separated text (RFC 4180: quoted fields, "" for a quote, CRLF or LF).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/array.h"

namespace mixflow {

struct CsvTable {
  std::vector<std::string> header;  // empty if the file has none
  Array numbers;                    // [rows, columns]
};

// The first row is a header if none of its cells is a number, or if one of them is `header_cell`
// (not empty). Blank lines are skipped. Throws UserError as name:line:column for a cell that is not
// a finite number, for rows of different lengths and for a quote that is not closed.
CsvTable parse_csv(std::string_view text, const std::string& name,
                   const std::string& header_cell = "");

}  // namespace mixflow
