// Tables of a report, and how each format writes them.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "report/pivot.h"

namespace mixflow {

struct ReportCell {
  std::string text;              // for people
  std::optional<double> number;  // what `text` shows, whole
  std::string detail;            // more about it, or nothing
};

struct ReportTable {
  std::string caption;
  std::vector<std::string> header;
  std::size_t left = 0;  // columns that hold words; the others hold numbers
  std::vector<std::vector<ReportCell>> rows;
  std::vector<std::string> notes;
};

// One table with a column per value, or, where there are column keys, a table per value.
std::vector<ReportTable> tables_of(const Pivot& pivot);

// A number of that name: bytes with their unit, others with four digits.
std::string number_for_people(const std::string& name, double value);
// "1.23 ± 0.04": two digits of the half-width of the interval, and three of the number or more.
std::string interval_for_people(const std::string& name, double value, double ci95);
bool is_bytes(std::string_view name);

std::string to_markdown(const ReportTable& table);
std::string to_latex(const ReportTable& table);  // a tabular that needs booktabs
std::string to_html(const ReportTable& table);

// One table of all values, in full precision: keys, runs, and for each value (and column) the
// number, for means also n and the half-width of the interval, with a baseline also the ratio.
std::string to_csv(const Pivot& pivot);
nlohmann::ordered_json to_json(const Pivot& pivot);

// The double as decimal text that reads back as the same one; nan, inf, -inf.
std::string exact(double value);

}  // namespace mixflow
