#include "data/labels.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <optional>
#include <unordered_map>
#include <utility>

#include "util/error.h"
#include "util/text.h"

namespace mixflow {
namespace {

constexpr std::int64_t kMaxClasses = 1 << 20;
// Fewer rows than this may each have a class of their own.
constexpr std::int64_t kFewRows = 20;

// What is written, and its value where that is a whole number.
struct Label {
  std::string text;
  std::optional<std::int64_t> number;
};

std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// Short, and safe to show.
std::string shown(const std::string& label) {
  return whole_number(label) ? label : in_quotes(label, 20);
}

// Distinct labels in the order of their first row, and the place of each row's among them.
struct Distinct {
  std::vector<Label> labels;
  std::vector<std::int32_t> of_row;
};

std::string row_text(const Array& y, std::int64_t row) {
  return y.name + ": row " + std::to_string(row) + " (from 0) ";
}

Distinct distinct_numbers(const Array& y) {
  constexpr double kExact = 9007199254740992.0;  // whole numbers up to here are told apart
  Distinct found;
  std::unordered_map<double, std::int32_t> places;
  found.of_row.reserve(static_cast<std::size_t>(y.rows()));
  check_finite(y);
  for_each_block(y, [&](std::int64_t first, std::int64_t, std::span<const double> values) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double value = values[i];
      const auto [place, is_new] = places.try_emplace(value, std::ssize(found.labels));
      if (is_new) {
        const std::int64_t row = first + static_cast<std::int64_t>(i);
        if (value != std::floor(value) || std::abs(value) > kExact) {
          throw UserError(row_text(y, row) + "has label " + formatted("%g", value) +
                          ", which is no class: expected whole numbers, texts or one-hot rows. "
                          "Targets that are quantities go with data.target: regression");
        }
        if (std::ssize(found.labels) == kMaxClasses) {
          throw UserError(y.name + ": more than " + std::to_string(kMaxClasses) +
                          " different labels");
        }
        const auto number = static_cast<std::int64_t>(value);
        found.labels.push_back({std::to_string(number), number});
      }
      found.of_row.push_back(place->second);
    }
  });
  return found;
}

Distinct distinct_texts(const Array& y) {
  Distinct found;
  for (const std::string& text : y.texts) found.labels.push_back({text, whole_number(text)});
  found.of_row.resize(static_cast<std::size_t>(y.rows()));
  for_each_block(y, [&](std::int64_t first, std::int64_t, std::span<const double> codes) {
    for (std::size_t i = 0; i < codes.size(); ++i) {
      found.of_row[static_cast<std::size_t>(first) + i] = static_cast<std::int32_t>(codes[i]);
    }
  });
  return found;
}

// Column c of [N, C] is label c; each row has a single 1.
Distinct one_hot(const Array& y) {
  Distinct found;
  const auto width = static_cast<std::size_t>(y.width());
  for (std::int64_t c = 0; c < y.width(); ++c) found.labels.push_back({std::to_string(c), c});
  for_each_block(y, [&](std::int64_t first, std::int64_t rows, std::span<const double> values) {
    for (std::size_t i = 0; i < static_cast<std::size_t>(rows); ++i) {
      const auto row = values.subspan(i * width, width);
      const auto one = std::ranges::find(row, 1.0);
      const auto zeros = static_cast<std::size_t>(std::ranges::count(row, 0.0));
      if (one == row.end() || zeros + 1 != width) {
        throw UserError(row_text(y, first + static_cast<std::int64_t>(i)) + "of " + y.type() +
                        " is not one-hot (a single 1, else 0); expected one label per example: "
                        "[examples], or one-hot rows");
      }
      found.of_row.push_back(static_cast<std::int32_t>(one - row.begin()));
    }
  });
  return found;
}

Distinct distinct_labels(const Array& y) {
  if (y.element->kind == ElementType::Kind::text) {
    if (y.width() == 1) return distinct_texts(y);
    throw UserError(y.name + ": found " + y.type() +
                    ", expected one label per example: [examples]");
  }
  return y.width() == 1 ? distinct_numbers(y) : one_hot(y);
}

// The class of each distinct label, and the label of each class.
struct Numbering {
  std::vector<std::int32_t> class_of;
  std::vector<std::string> label_of;
};

Numbering in_order(const Distinct& found) {
  std::vector<std::size_t> order(found.labels.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto& labels = found.labels;
  const bool numbers =
      std::ranges::all_of(labels, [](const Label& l) { return l.number.has_value(); });
  std::ranges::sort(order, [&](std::size_t a, std::size_t b) {
    return numbers ? *labels[a].number < *labels[b].number : labels[a].text < labels[b].text;
  });
  Numbering numbering;
  numbering.class_of.resize(labels.size());
  for (std::size_t c = 0; c < order.size(); ++c) {
    numbering.class_of[order[c]] = static_cast<std::int32_t>(c);
    numbering.label_of.push_back(labels[order[c]].text);
  }
  return numbering;
}

// The first row with the label.
std::int64_t row_of(const Distinct& found, std::size_t label) {
  return std::ranges::find(found.of_row, static_cast<std::int32_t>(label)) - found.of_row.begin();
}

Numbering exact(const Distinct& found, const Array& y, const std::string& where) {
  Numbering numbering;
  std::int64_t classes = 0;
  for (std::size_t i = 0; i < found.labels.size(); ++i) {
    const Label& label = found.labels[i];
    if (!label.number || *label.number < 0 || *label.number >= kMaxClasses) {
      throw UserError(where + ": exact, but row " + std::to_string(row_of(found, i)) +
                      " (from 0) of " + y.name + " has label " + shown(label.text) +
                      "; expected whole numbers from 0. auto numbers the labels that occur");
    }
    classes = std::max(classes, *label.number + 1);
    numbering.class_of.push_back(static_cast<std::int32_t>(*label.number));
  }
  for (std::int64_t c = 0; c < classes; ++c) numbering.label_of.push_back(std::to_string(c));
  return numbering;
}

bool same_label(const std::string& listed, const Label& label) {
  if (listed == label.text) return true;
  if (!label.number) return false;
  double number = 0;
  const auto [end, error] = std::from_chars(listed.data(), listed.data() + listed.size(), number);
  return error == std::errc{} && end == listed.data() + listed.size() &&
         number == static_cast<double>(*label.number);
}

Numbering listed(const Distinct& found, const std::vector<std::string>& list, const Array& y,
                 const std::string& where) {
  Numbering numbering{.label_of = list};
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (std::find(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(i), list[i]) !=
        list.begin() + static_cast<std::ptrdiff_t>(i)) {
      throw UserError(where + ": lists " + shown(list[i]) + " twice");
    }
  }
  for (std::size_t i = 0; i < found.labels.size(); ++i) {
    const Label& label = found.labels[i];
    const auto at =
        std::ranges::find_if(list, [&](const std::string& l) { return same_label(l, label); });
    if (at == list.end()) {
      throw UserError(where + ": row " + std::to_string(row_of(found, i)) + " (from 0) of " +
                      y.name + " has label " + shown(label.text) +
                      ", which is not listed; add it, or set data.labels: auto");
    }
    numbering.class_of.push_back(static_cast<std::int32_t>(at - list.begin()));
  }
  return numbering;
}

void check_classes(const Labels& labels, const Array& y, std::size_t occurring) {
  if (occurring < 2) {
    throw UserError(y.name + ": every label is " +
                    shown(labels.classes[static_cast<std::size_t>(labels.of_row[0])].label) +
                    ": expected at least two classes");
  }
  if (y.width() == 1 && std::ssize(labels.of_row) >= kFewRows &&
      occurring == labels.of_row.size()) {
    throw UserError(y.name + ": each of its " + std::to_string(occurring) +
                    " rows has a label of its own, so these are no classes; name another file or "
                    "column, or set data.target: regression");
  }
}

}  // namespace

std::string Labels::note() const {
  if (!renumbered) return "";
  constexpr std::size_t kMost = 5;
  const std::size_t count = classes.size() <= kMost ? classes.size() : kMost - 1;
  std::string names, numbers;
  for (std::size_t c = 0; c < count; ++c) {
    names += (c > 0 ? ", " : "") + shown(classes[c].label);
    numbers += (c > 0 ? ", " : "") + std::to_string(c);
  }
  if (count < classes.size()) {
    names += ", .. " + shown(classes.back().label);
    numbers += ", .. " + std::to_string(classes.size() - 1);
  }
  return "labels " + names + " are classes " + numbers;
}

Labels read_labels(const Array& y, const std::vector<std::string>& rule, const std::string& where) {
  Distinct found = distinct_labels(y);
  Numbering numbering;
  if (rule == std::vector<std::string>{"exact"}) {
    numbering = exact(found, y, where);
  } else if (rule.empty() || rule == std::vector<std::string>{"auto"}) {
    numbering = in_order(found);
  } else {
    numbering = listed(found, rule, y, where);
  }
  Labels labels{.of_row = std::move(found.of_row)};
  for (std::string& label : numbering.label_of) labels.classes.push_back({std::move(label), 0});
  for (std::int32_t& label : labels.of_row) {
    label = numbering.class_of[static_cast<std::size_t>(label)];
    ++labels.classes[static_cast<std::size_t>(label)].rows;
  }
  for (std::size_t c = 0; c < labels.classes.size(); ++c) {
    labels.renumbered |= labels.classes[c].label != std::to_string(c);
  }
  check_classes(labels, y,
                static_cast<std::size_t>(std::ranges::count_if(
                    labels.classes, [](const auto& c) { return c.rows > 0; })));
  return labels;
}

Field label_field(Loss loss) {
  if (loss == Loss::cross_entropy) return {"y", DType::i32, {}};
  return {"y", DType::f32, {1}};
}

std::int64_t label_width(Loss loss, int classes) {
  return loss == Loss::cross_entropy ? classes : 1;
}

void write_label(Loss loss, Precision precision, std::int32_t label, std::byte* out,
                 std::int64_t position) {
  if (loss == Loss::cross_entropy) {
    reinterpret_cast<std::int32_t*>(out)[position] = label;
  } else if (precision != Precision::f64) {
    reinterpret_cast<float*>(out)[position] = static_cast<float>(label);
  } else {
    reinterpret_cast<double*>(out)[position] = label;
  }
}

}  // namespace mixflow
