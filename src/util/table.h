// Tables: for people, columns aligned by spaces; for programs, CSV.
#pragma once

#include <string>
#include <vector>

namespace mixflow {

// One line per row, columns two spaces apart. The first `left` columns and, where a row has more
// cells than the first row, its last cell (a remark) begin at the left; the others end at the
// right. The first row is the header and sets the number of columns. Control characters are shown.
std::string aligned_table(const std::vector<std::vector<std::string>>& cells, std::size_t left);

// One line of CSV without its end: cells with commas, quotes or line ends are quoted, as RFC 4180
// has it.
std::string csv_line(const std::vector<std::string>& cells);

}  // namespace mixflow
