#include "report/run_set.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <numeric>
#include <unordered_map>

#include "util/error.h"
#include "util/text.h"

namespace mixflow {
namespace {

constexpr std::size_t kMostSuggestions = 5;

// meta.parameters.0.kind -> meta.parameters[0].kind
std::string with_brackets(std::string_view name) {
  std::string out;
  for (const std::string_view part : split(name, '.')) {
    const bool index = !part.empty() && part.find_first_not_of("0123456789") == part.npos;
    if (index && !out.empty()) {
      out += "[" + std::string(part) + "]";
    } else {
      out += (out.empty() ? "" : ".") + std::string(part);
    }
  }
  return out;
}

// Whether runs that differ in the key are runs of different configurations.
bool divides(const KeyColumn& key) {
  return key.name != kSeedKey && key.name != kNameKey && key.texts.size() > 1;
}

// Puts the distinct texts into their order and renumbers the runs.
void sort_texts(KeyColumn& column) {
  std::vector<std::optional<double>> numbers;
  for (const std::string& text : column.texts) numbers.push_back(number_of(text));
  const auto absent = [&](std::size_t i) { return column.texts[i] == kAbsent; };
  const auto words = std::ranges::count_if(numbers, [](const auto& n) { return !n; });
  column.numeric = words == 0;
  // Numbers by size also where some configs lack the key.
  const bool by_size = words == 0 || (words == 1 && std::ranges::count(column.texts, kAbsent) == 1);
  std::vector<int> order(column.texts.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](int a, int b) {
    const auto i = static_cast<std::size_t>(a), j = static_cast<std::size_t>(b);
    if (absent(i) || absent(j)) return absent(j) && !absent(i);
    return by_size ? *numbers[i] < *numbers[j] : column.texts[i] < column.texts[j];
  });
  std::vector<int> place(order.size());
  std::vector<std::string> texts;
  for (const int was : order) {
    place[static_cast<std::size_t>(was)] = static_cast<int>(texts.size());
    texts.push_back(std::move(column.texts[static_cast<std::size_t>(was)]));
  }
  column.texts = std::move(texts);
  for (int& index : column.index) index = place[static_cast<std::size_t>(index)];
}

// Whether the two columns divide the runs alike.
bool same_division(const KeyColumn& a, const KeyColumn& b) {
  if (a.texts.size() != b.texts.size()) return false;
  std::vector<int> match(a.texts.size(), -1);
  for (std::size_t run = 0; run < a.index.size(); ++run) {
    int& expected = match[static_cast<std::size_t>(a.index[run])];
    if (expected < 0) expected = b.index[run];
    if (expected != b.index[run]) return false;
  }
  return true;
}

}  // namespace

double KeyColumn::number(std::size_t text_index) const { return *number_of(texts[text_index]); }

RunSet::RunSet(std::vector<RunRecord> runs) : runs_(std::move(runs)) {
  build_keys();
  number_configurations();
  find_axes();
}

void RunSet::build_keys() {
  std::unordered_map<std::string_view, std::size_t> column_of;
  std::vector<std::unordered_map<std::string_view, int>> text_index;
  for (std::size_t run = 0; run < runs_.size(); ++run) {
    for (const auto& [name, text] : runs_[run].keys) {
      const auto [column, is_new] = column_of.try_emplace(name, keys_.size());
      if (is_new) {
        keys_.push_back({.name = name, .index = std::vector<int>(runs_.size(), -1)});
        text_index.emplace_back();
      }
      KeyColumn& key = keys_[column->second];
      const auto [index, new_text] =
          text_index[column->second].try_emplace(text, static_cast<int>(key.texts.size()));
      if (new_text) key.texts.push_back(text);
      key.index[run] = index->second;
    }
  }
  for (KeyColumn& key : keys_) {
    const auto absent = static_cast<int>(key.texts.size());
    if (std::ranges::find(key.index, -1) != key.index.end()) {
      key.texts.emplace_back(kAbsent);
      std::ranges::replace(key.index, -1, absent);
    }
    sort_texts(key);
  }
}

void RunSet::number_configurations() {
  std::map<std::vector<int>, int> known;
  std::vector<const KeyColumn*> varying;
  for (const KeyColumn& key : keys_) {
    if (divides(key)) varying.push_back(&key);
  }
  for (std::size_t run = 0; run < runs_.size(); ++run) {
    std::vector<int> values;
    for (const KeyColumn* key : varying) values.push_back(key->index[run]);
    const auto [found, is_new] =
        known.try_emplace(std::move(values), static_cast<int>(known.size()));
    configurations_.push_back(found->second);
  }
  num_configurations_ = known.size();
}

void RunSet::find_axes() {
  for (const KeyColumn& key : keys_) {
    if (!divides(key)) continue;
    const auto leader = std::ranges::find_if(
        axes_, [&](const KeyColumn* axis) { return same_division(*axis, key); });
    if (leader == axes_.end()) {
      axes_.push_back(&key);
    } else {
      followers_.emplace_back(key.name, (*leader)->name);
    }
  }
}

const KeyColumn* RunSet::find_key(std::string_view name) const {
  const std::string path = with_brackets(name);
  const auto found = std::ranges::find(keys_, path, &KeyColumn::name);
  return found == keys_.end() ? nullptr : &*found;
}

const KeyColumn& RunSet::key(std::string_view name, std::string_view where) const {
  if (const KeyColumn* found = find_key(name)) return *found;
  std::vector<std::string> names;
  for (const KeyColumn& key : keys_) names.push_back(key.name);
  const std::string near = nearest_names(name, names);
  throw UserError(std::string(where) + ": no config has the key " + in_quotes(name) +
                  (near.empty() ? "; expected a dotted path such as inner.steps"
                                : "; did you mean " + near + "?"));
}

bool RunSet::has_number(std::string_view name) const {
  return std::ranges::any_of(runs_,
                             [&](const RunRecord& run) { return run.value(name).has_value(); });
}

std::size_t RunSet::num_seeds() const {
  const KeyColumn* seed = find_key(kSeedKey);
  return seed ? seed->texts.size() : 0;
}

std::string nearest_names(std::string_view word, const std::vector<std::string>& names) {
  std::vector<std::string_view> left(names.begin(), names.end());
  std::vector<std::string_view> chosen;
  const auto choose = [&](std::string_view name) {
    chosen.push_back(name);
    std::erase(left, name);
  };
  while (chosen.size() < 3) {
    const std::string_view near = nearest(word, left);
    if (near.empty()) break;
    choose(near);
  }
  // steps: inner.steps and meta.steps are meant more often than what is spelled alike.
  for (const std::string& name : names) {
    if (chosen.size() >= kMostSuggestions) break;
    const bool inside = word.size() > 2 && name.find(word) != std::string::npos;
    if (inside && std::ranges::find(left, name) != left.end()) choose(name);
  }
  if (chosen.size() < 2) return join(chosen, "");
  const std::string_view last = chosen.back();
  chosen.pop_back();
  return join(chosen, ", ") + " or " + std::string(last);
}

std::optional<double> number_of(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace mixflow
