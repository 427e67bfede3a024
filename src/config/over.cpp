#include "config/over.h"

#include <algorithm>

#include "config/load.h"
#include "util/error.h"
#include "util/text.h"

namespace mixflow {
namespace {

struct List {
  std::string key;
  std::vector<std::string> values;
};

[[noreturn]] void fail(const std::string& text, const std::string& message) {
  throw UserError("--over " + text + ": " + message);
}

std::string trimmed_value(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\n");
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(" \t\n") - first + 1));
}

// Splits at the commas that stand outside of brackets, braces and quotes.
std::vector<std::string> split_values(const std::string& text, std::size_t begin) {
  std::vector<std::string> values;
  std::string open;  // the brackets and the quote that are open
  for (std::size_t at = begin; at < text.size(); ++at) {
    const char c = text[at];
    const bool quoted = !open.empty() && (open.back() == '"' || open.back() == '\'');
    if (quoted) {
      if (c == '\\' && open.back() == '"')
        ++at;
      else if (c == open.back())
        open.pop_back();
    } else if (c == '"' || c == '\'') {
      open += c;
    } else if (c == '[' || c == '{') {
      open += c == '[' ? ']' : '}';
    } else if (c == ']' || c == '}') {
      if (open.empty() || open.back() != c) fail(text, std::string("a ") + c + " closes nothing");
      open.pop_back();
    } else if (c == ',' && open.empty()) {
      values.push_back(trimmed_value(std::string_view(text).substr(begin, at - begin)));
      begin = at + 1;
    }
  }
  if (!open.empty()) fail(text, std::string("a closing ") + open.back() + " is missing");
  values.push_back(trimmed_value(std::string_view(text).substr(begin)));
  return values;
}

List parse_list(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    fail(text, "expected key.path=value,value,.., such as --over inner.steps=2,4,8");
  }
  List list{text.substr(0, equals), split_values(text, equals + 1)};
  for (std::size_t i = 0; i < list.values.size(); ++i) {
    if (list.values[i].empty()) {
      fail(text, "value " + std::to_string(i + 1) + " is empty; write null for no value");
    }
  }
  return list;
}

}  // namespace

std::vector<KeyValues> combinations(std::span<const std::string> lists) {
  std::vector<KeyValues> all(1);
  std::vector<std::string> keys;
  for (const std::string& text : lists) {
    const List list = parse_list(text);
    if (std::ranges::find(keys, list.key) != keys.end()) {
      fail(text, list.key + " has a list already; write all its values into one");
    }
    keys.push_back(list.key);
    if (all.size() * list.values.size() > kMostCombinations) {
      fail(text, "expected at most " + std::to_string(kMostCombinations) +
                     " combinations, got more; use fewer values");
    }
    std::vector<KeyValues> longer;
    for (const KeyValues& settings : all) {
      for (const std::string& value : list.values) {
        longer.push_back(settings);
        longer.back().emplace_back(list.key, value);
      }
    }
    all = std::move(longer);
  }
  return all;
}

std::string to_text(const KeyValues& settings) {
  std::vector<std::string> words;
  for (const auto& [key, value] : settings) words.push_back(key + "=" + value);
  return join(words, " ");
}

void rethrow_with(const KeyValues& settings) {
  try {
    throw;
  } catch (const UserError& error) {
    if (settings.empty()) throw;
    throw UserError("combination " + to_text(settings) + ": " + error.what());
  }
}

std::vector<Combination> load_combinations(const std::string& path,
                                           std::span<const std::string> overrides,
                                           std::span<const std::string> lists) {
  std::vector<Combination> loaded;
  for (KeyValues& settings : combinations(lists)) {
    std::vector<std::string> texts(overrides.begin(), overrides.end());
    for (const auto& [key, value] : settings) texts.push_back(key + "=" + value);
    Config config = in_combination(settings, [&] { return load_config(path, texts); });
    loaded.push_back({std::move(settings), std::move(config)});
  }
  return loaded;
}

}  // namespace mixflow
