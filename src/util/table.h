// Tables for people: columns aligned by spaces.
#pragma once

#include <string>
#include <vector>

namespace mixflow {

// One line per row, columns two spaces apart. The first `left` columns and, where a row has more
// cells than the first row, its last cell (a remark) begin at the left; the others end at the
// right. The first row is the header and sets the number of columns.
std::string aligned_table(const std::vector<std::vector<std::string>>& rows, std::size_t left);

}  // namespace mixflow
