// Which files are tables of text, by their names.
#pragma once

#include <string>

namespace mixflow {

// .csv, .tsv, .data or .dat, also with .gz behind it, in upper or lower case.
bool is_table_file(const std::string& path);

}  // namespace mixflow
