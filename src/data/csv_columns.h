// Which columns of a table are x, which is y, and which are left out.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/csv.h"
#include "data/table_records.h"

namespace mixflow {

struct CsvColumns {
  enum class Role : std::uint8_t { x, y, ignored, must_be_empty };

  std::vector<std::string> header;  // as in the file; empty if there is none
  std::vector<Role> roles;          // by column of the file
  std::vector<std::size_t> x;       // x's columns
  std::string note;                 // of an index that is left out, or ""

  // "column 2 (\"price\")".
  std::string name_of(std::size_t column) const;
};

// Whether the first of a table's records is a header: the form says it, or the choice names one of
// its cells, or none of its cells is a number, or one is a text above a number.
bool is_header(const TableRecord& first, const TableRecord* second, const CsvChoice& choice,
               char decimal);

// `cells`: of the records below the header.
CsvColumns choose_columns(const std::string& name, std::vector<std::string> header,
                          std::size_t cells, const CsvChoice& choice);

}  // namespace mixflow
