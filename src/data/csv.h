// Tables of numbers as separated text: .csv, .tsv and their like.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "config/config.h"
#include "data/array.h"
#include "data/facts.h"

namespace mixflow {

// What is read of a table. Columns are called by their name in the header or by their number in the
// file: from 0, or from the end with -1.
struct CsvChoice {
  CsvForm form;
  std::string target;        // the column of y; empty: none
  bool only_target = false;  // a table of one column is y, one of more is x
  bool text_target = false;  // y may hold texts, which are classes
  std::vector<std::string> columns;  // of x; empty: all
  std::vector<std::string> ignore;
  bool single = false;   // x is kept as float32, else as float64
  bool outline = false;  // x is checked, but not kept
};

// One or several files, one below the other.
struct CsvTable {
  std::string name;                // the first file
  std::vector<std::string> names;  // of x's columns; of a table without a header: column 0, ..
  ArraySchema schema;              // of x [rows, columns]
  std::shared_ptr<std::vector<float>> f32;  // x, in one of the two; missing values are NaN
  std::shared_ptr<std::vector<double>> f64;
  std::optional<Array> y;          // [rows] of numbers or texts
  std::vector<std::int64_t> rows;  // of each file
  std::int64_t missing = 0;        // values of x
  std::vector<DataFacts::File> files;
  std::vector<std::string> notes;  // what was found out and done, a sentence each

  std::int64_t all_rows() const;
  // Puts the mean of a column's values in the rows `of` wherever one is missing, in arrays that x()
  // has given as well. UserError where a column has no values there.
  void fill_missing(std::span<const std::int64_t> of);
  // x as an array, which keeps the numbers with this table.
  Array x() const;
};

// Reads each file in one pass. Throws UserError as name:line:column for a cell that is not a finite
// number, for missing values unless the form says what becomes of them, for rows of different
// lengths and for quotes that are not closed; for columns that are not there, and for files that do
// not have the columns of the first.
//
// A column without a name in the header is an index and left out of x if it is the first (as pandas
// writes it), and left out if it is empty; elsewhere it is refused, unless `columns` or `ignore`
// names it. A first column that counts the rows is a feature, and a note says so.
CsvTable read_csv(std::span<const std::string> paths, const CsvChoice& choice);

}  // namespace mixflow
