// The files of a tabular data set, put together: x and y of training, validation and test.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "config/config.h"
#include "data/csv.h"
#include "data/dataset.h"

namespace mixflow {

// Rows of x's file and of those of validation_x and test_x; 0 where there are none.
using FileRows = std::array<std::int64_t, 3>;

// What the files say about themselves.
struct TabularOutline {
  ArraySchema x;  // [rows, ...] of all files one below the other
  Array y;        // [rows] or [rows, outputs], numbers or texts
  FileRows rows{};
  std::vector<DataFacts::File> files;
  std::vector<std::string> notes;
};

struct TabularSet {
  TabularOutline outline;
  Array x;
  std::shared_ptr<CsvTable> table;  // of x, if it is one

  // Puts the means of the rows `of` where values are missing, and notes it.
  void fill_missing(std::span<const std::int64_t> of);
};

// Tables of text are read in the precision of the experiment. An array of one file stays as it is,
// mapped; those of several are copied. Throws UserError for files that cannot be read or do not fit
// each other.
TabularSet read_tabular(const TabularData& data, const Config& config);
// The same without x: of arrays only headers are read, tables as a whole, since their rows count.
TabularOutline outline_of(const TabularData& data, const Config& config);

}  // namespace mixflow
