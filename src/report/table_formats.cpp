// How each format writes a table.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "report/escape.h"
#include "report/table.h"
#include "util/table.h"
#include "util/text.h"

namespace mixflow {
namespace {

using Json = nlohmann::ordered_json;

// Characters, not bytes.
std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string padded(const std::string& text, std::size_t width, bool right) {
  const std::string padding(width - std::min(width, width_of(text)), ' ');
  return right ? padding + text : text + padding;
}

std::string html_cell(const ReportCell& cell, bool label) {
  if (label) return "<th scope=\"row\">" + html_escaped(cell.text) + "</th>";
  const std::string text = html_escaped(cell.text);
  if (!cell.number) return "<td>" + text + "</td>";
  std::string title = exact(*cell.number);
  if (!cell.detail.empty()) title += " (" + cell.detail + ")";
  return "<td><data value=\"" + exact(*cell.number) + "\" title=\"" + html_escaped(title) + "\">" +
         text + "</data></td>";
}

// Names of CSV columns: one for each value, or for each value and column.
std::string column_name(const Pivot& pivot, std::size_t value, std::size_t col) {
  if (pivot.col_keys.empty()) return pivot.values[value];
  std::vector<std::string> words;
  for (std::size_t k = 0; k < pivot.col_keys.size(); ++k) {
    words.push_back(pivot.col_keys[k] + "=" + pivot.col_labels[col][k]);
  }
  const std::string label = join(words, ", ");
  return pivot.values.size() == 1 ? label : pivot.values[value] + " " + label;
}

std::string exact_or_empty(const std::optional<double>& value) {
  return value ? exact(*value) : "";
}

Json json_or_null(const std::optional<double>& value) {
  return value && std::isfinite(*value) ? Json(*value) : Json(nullptr);
}

Json labels_json(const std::vector<std::string>& keys, const std::vector<std::string>& label) {
  Json json = Json::object();
  for (std::size_t k = 0; k < keys.size(); ++k) json[keys[k]] = label[k];
  return json;
}

}  // namespace

std::string to_markdown(const ReportTable& table) {
  std::vector<std::vector<std::string>> cells(1);
  for (const std::string& name : table.header) cells[0].push_back(markdown_escaped(name));
  for (const std::vector<ReportCell>& row : table.rows) {
    std::vector<std::string>& texts = cells.emplace_back();
    for (const ReportCell& cell : row) texts.push_back(markdown_escaped(cell.text));
  }
  std::vector<std::size_t> widths(table.header.size(), 3);
  for (const std::vector<std::string>& row : cells) {
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], width_of(row[c]));
  }
  std::string text = markdown_escaped(table.caption) + ":\n\n";
  for (std::size_t r = 0; r < cells.size(); ++r) {
    for (std::size_t c = 0; c < cells[r].size(); ++c) {
      text += "| " + padded(cells[r][c], widths[c], c >= table.left) + " ";
    }
    text += "|\n";
    if (r > 0) continue;
    for (std::size_t c = 0; c < widths.size(); ++c) {
      text += "|" + std::string(widths[c] + 1, '-') + (c >= table.left ? ":" : "-");
    }
    text += "|\n";
  }
  for (const std::string& note : table.notes) text += "\n" + markdown_escaped(note) + ".\n";
  return text;
}

std::string to_latex(const ReportTable& table) {
  std::string text = "% " + latex_escaped(table.caption) + "\n\\begin{tabular}{" +
                     std::string(table.left, 'l') +
                     std::string(table.header.size() - table.left, 'r') + "}\n\\toprule\n";
  const auto add_row = [&](const std::vector<std::string>& cells) {
    text += join(cells, " & ") + " \\\\\n";
  };
  std::vector<std::string> header;
  for (const std::string& name : table.header) header.push_back(latex_escaped(name));
  add_row(header);
  text += "\\midrule\n";
  for (const std::vector<ReportCell>& row : table.rows) {
    std::vector<std::string> cells;
    for (const ReportCell& cell : row) cells.push_back("{" + latex_escaped(cell.text) + "}");
    add_row(cells);
  }
  text += "\\bottomrule\n\\end{tabular}\n";
  for (const std::string& note : table.notes) text += "% " + latex_escaped(note) + "\n";
  return text;
}

std::string to_html(const ReportTable& table) {
  std::string text = "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"" +
                     html_escaped(table.caption) + "\"><table>\n<caption><span>" +
                     html_escaped(table.caption) + "</span></caption>\n<thead><tr>";
  for (std::size_t c = 0; c < table.header.size(); ++c) {
    text += std::string("<th scope=\"col\"") + (c < table.left ? " class=\"word\"" : "") + ">" +
            html_escaped(table.header[c]) + "</th>";
  }
  text += "</tr></thead>\n<tbody>\n";
  for (const std::vector<ReportCell>& row : table.rows) {
    text += "<tr>";
    for (std::size_t c = 0; c < row.size(); ++c) text += html_cell(row[c], c < table.left);
    text += "</tr>\n";
  }
  text += "</tbody>\n</table></div>\n";
  for (const std::string& note : table.notes) {
    text += "<p class=\"note\">" + html_escaped(note) + ".</p>\n";
  }
  return text;
}

std::string to_csv(const Pivot& pivot) {
  constexpr const char* kEnd = "\r\n";  // as RFC 4180 has it
  const bool mean = pivot.agg == Agg::mean;
  std::vector<std::string> header = pivot.row_keys;
  header.emplace_back("runs");
  for (std::size_t v = 0; v < pivot.values.size(); ++v) {
    for (std::size_t c = 0; c < pivot.col_labels.size(); ++c) {
      const std::string name = column_name(pivot, v, c);
      header.push_back(name);
      if (mean) header.insert(header.end(), {name + "_n", name + "_ci95"});
      if (pivot.has_baseline) header.push_back(name + "_ratio");
    }
  }
  std::string text = csv_line(header) + kEnd;
  for (std::size_t r = 0; r < pivot.row_labels.size(); ++r) {
    std::vector<std::string> cells = pivot.row_labels[r];
    std::ranges::replace(cells, std::string(kAbsent), std::string());
    cells.push_back(std::to_string(pivot.row_runs[r]));
    for (const auto& value : pivot.cells) {
      for (const PivotCell& cell : value[r]) {
        cells.push_back(exact_or_empty(cell.value));
        if (mean) {
          cells.push_back(std::to_string(cell.count));
          cells.push_back(exact_or_empty(cell.ci95));
        }
        if (pivot.has_baseline) cells.push_back(exact_or_empty(cell.ratio));
      }
    }
    text += csv_line(cells) + kEnd;
  }
  return text;
}

nlohmann::ordered_json to_json(const Pivot& pivot) {
  Json cells = Json::array();
  for (std::size_t r = 0; r < pivot.row_labels.size(); ++r) {
    for (std::size_t c = 0; c < pivot.col_labels.size(); ++c) {
      if (!pivot.cells.empty() && pivot.cells[0][r][c].runs.empty()) continue;
      Json values = Json::object();
      for (std::size_t v = 0; v < pivot.values.size(); ++v) {
        const PivotCell& cell = pivot.cells[v][r][c];
        values[pivot.values[v]] = {{"n", cell.count},
                                   {"value", json_or_null(cell.value)},
                                   {"ci95", json_or_null(cell.ci95)},
                                   {"ratio", json_or_null(cell.ratio)}};
      }
      cells.push_back({{"row", labels_json(pivot.row_keys, pivot.row_labels[r])},
                       {"col", labels_json(pivot.col_keys, pivot.col_labels[c])},
                       {"values", std::move(values)}});
    }
  }
  return {{"agg", name_of(pivot.agg)}, {"cells", std::move(cells)}};
}

}  // namespace mixflow
