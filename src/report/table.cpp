#include "report/table.h"

#include <algorithm>
#include <cmath>

#include "report/escape.h"
#include "util/memory.h"
#include "util/text.h"

namespace mixflow {
namespace {

ReportCell number_cell(const std::string& name, const PivotCell& cell) {
  if (!cell.value) return {.text = std::string(kAbsent)};
  ReportCell out{.number = cell.value, .detail = "n = " + std::to_string(cell.count)};
  if (cell.ci95 && *cell.ci95 > 0) {
    out.text = interval_for_people(name, *cell.value, *cell.ci95);
    out.detail += ", 95 % interval ± " + exact(*cell.ci95);
  } else {
    out.text = number_for_people(name, *cell.value);
  }
  return out;
}

ReportCell ratio_cell(const PivotCell& cell) {
  if (!cell.ratio) return {.text = std::string(kAbsent)};
  return {.text = formatted(*cell.ratio < 0.1 ? "%.2gx" : "%.2fx", *cell.ratio),
          .number = cell.ratio};
}

std::vector<std::string> labels_of(const std::vector<std::string>& keys,
                                   const std::vector<std::vector<std::string>>& groups) {
  std::vector<std::string> labels;
  for (const std::vector<std::string>& group : groups) {
    std::vector<std::string> words;
    for (std::size_t k = 0; k < keys.size(); ++k) words.push_back(keys[k] + "=" + group[k]);
    labels.push_back(join(words, ", "));
  }
  return labels;
}

bool has_intervals(const Pivot& pivot) {
  for (const auto& value : pivot.cells) {
    for (const auto& row : value) {
      for (const PivotCell& cell : row) {
        if (cell.ci95) return true;
      }
    }
  }
  return false;
}

std::string agg_text(const Pivot& pivot) {
  const std::string name(name_of(pivot.agg));
  return has_intervals(pivot) ? name + " ± half-width of the 95 % interval over seeds" : name;
}

std::vector<std::string> notes_of(const Pivot& pivot) {
  std::vector<std::string> notes;
  if (pivot.pooled_cells > 0) {
    notes.push_back(std::to_string(pivot.pooled_cells) +
                    (pivot.pooled_cells == 1 ? " cell pools" : " cells pool") +
                    " several configurations" +
                    (pivot.agg == Agg::mean ? " and so have no interval" : ""));
  }
  if (pivot.has_baseline) notes.emplace_back("ratio: to the baseline, everything else equal");
  return notes;
}

void add_label_cells(const std::vector<std::string>& label, std::vector<ReportCell>& row) {
  for (const std::string& text : label) row.push_back({.text = text});
}

ReportTable start_table(const Pivot& pivot) {
  ReportTable table{.header = pivot.row_keys, .left = pivot.row_keys.size()};
  table.rows.resize(pivot.row_labels.size());
  for (std::size_t r = 0; r < table.rows.size(); ++r) {
    add_label_cells(pivot.row_labels[r], table.rows[r]);
  }
  table.notes = notes_of(pivot);
  return table;
}

void add_columns(const Pivot& pivot, std::size_t value, std::size_t col, const std::string& name,
                 ReportTable& table) {
  table.header.push_back(name);
  if (pivot.has_baseline) table.header.push_back(name + " ratio");
  const std::string& unit = pivot.agg == Agg::count ? "" : pivot.values[value];
  for (std::size_t r = 0; r < table.rows.size(); ++r) {
    const PivotCell& cell = pivot.cells[value][r][col];
    table.rows[r].push_back(number_cell(unit, cell));
    if (pivot.has_baseline) table.rows[r].push_back(ratio_cell(cell));
  }
}

}  // namespace

bool is_bytes(std::string_view name) { return name.find("_bytes") != std::string_view::npos; }

std::string number_for_people(const std::string& name, double value) {
  if (!std::isfinite(value)) return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
  if (is_bytes(name)) {
    const BinaryUnit unit = binary_unit(std::abs(value));
    return formatted(unit.size == 1 ? "%.0f %s" : "%.1f %s", value / unit.size, unit.name);
  }
  if (value == std::floor(value) && std::abs(value) < 1e12) return formatted("%.0f", value);
  return formatted("%.4g", value);
}

std::string interval_for_people(const std::string& name, double value, double interval) {
  if (!std::isfinite(value) || !std::isfinite(interval)) return number_for_people(name, value);
  double scale = 1;
  std::string unit;
  if (is_bytes(name)) {
    const BinaryUnit binary = binary_unit(std::abs(value));
    scale = binary.size;
    unit = std::string(" ") + binary.name;
  } else if (value != 0 && (std::abs(value) < 1e-3 || std::abs(value) >= 1e6)) {
    const double exponent = std::floor(std::log10(std::abs(value)));
    scale = std::pow(10, exponent);
    unit = formatted("e%+03d", static_cast<int>(exponent));
  }
  const auto places = [&](double x, int significant) {  // behind the point
    return x == 0 ? 0
                  : significant - 1 - static_cast<int>(std::floor(std::log10(std::abs(x) / scale)));
  };
  const int digits = std::clamp(std::max(places(interval, 2), places(value, 3)), 0, 9);
  const std::string text =
      formatted("%.*f ± %.*f", digits, value / scale, digits, interval / scale);
  return unit.starts_with("e") ? "(" + text + ")" + unit : text + unit;
}

std::vector<ReportTable> tables_of(const Pivot& pivot) {
  std::vector<ReportTable> tables;
  if (pivot.col_keys.empty()) {
    ReportTable table = start_table(pivot);
    const bool single = std::ranges::all_of(pivot.row_runs, [](std::size_t n) { return n == 1; });
    table.caption = single ? "One run each" : "Each row: " + agg_text(pivot);
    table.header.emplace_back("runs");
    for (std::size_t r = 0; r < table.rows.size(); ++r) {
      const auto runs = static_cast<double>(pivot.row_runs[r]);
      table.rows[r].push_back({.text = formatted("%.0f", runs), .number = runs});
    }
    for (std::size_t v = 0; v < pivot.values.size(); ++v) {
      add_columns(pivot, v, 0, pivot.values[v], table);
    }
    tables.push_back(std::move(table));
    return tables;
  }
  const std::vector<std::string> columns = labels_of(pivot.col_keys, pivot.col_labels);
  for (std::size_t v = 0; v < pivot.values.size(); ++v) {
    ReportTable table = start_table(pivot);
    table.caption = pivot.values[v] + ": " + agg_text(pivot);
    for (std::size_t c = 0; c < columns.size(); ++c) add_columns(pivot, v, c, columns[c], table);
    tables.push_back(std::move(table));
  }
  return tables;
}

std::string exact(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return number_text(value);
}

}  // namespace mixflow
