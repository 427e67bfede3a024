// Text for messages: quoting, numbers, lists of words, nearest spellings, UTF-8.
#pragma once

#include <cstddef>
#include <cstdio>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mixflow {

// `text` in double quotes, on one line: control characters, quotes and backslashes are escaped, and
// what is longer than `limit` bytes is cut (never inside a character) and ends in "...". The
// escapes are those of YAML and JSON.
std::string in_quotes(std::string_view text, std::size_t limit = 60);

// `text` with what a terminal would act on made visible: control characters other than line ends
// and tabs (ESC becomes \u001b, those of Unicode and marks that turn the direction of text
// likewise), and bytes that are no UTF-8 (\xff). For whatever leaves the program and may hold names
// or content of files.
std::string visible(std::string_view text);
// The same on one line: also line ends and tabs are escaped.
std::string visible_line(std::string_view text);

// The shortest decimal that reads back as the same double; .inf, -.inf and .nan as YAML writes
// them.
std::string number_text(double value);

// As snprintf writes the values, cut at 511 bytes.
std::string formatted(const char* format, auto... values) {
  char text[512];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

std::string join(std::span<const std::string_view> words, std::string_view separator);
std::string join(std::span<const std::string> words, std::string_view separator);

std::vector<std::string_view> split(std::string_view text, char separator);

// Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours, each 1.
int edit_distance(std::string_view a, std::string_view b);

// The candidate that `word` most likely stands for, or "" where none is near: case and '-' for '_'
// count nothing, otherwise a third of the longer word may differ (at least one letter). The first
// of equals wins.
std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates);

// Offset of the first byte that is not part of a well-formed UTF-8 character.
std::optional<std::size_t> first_invalid_utf8(std::string_view text);

// Of each key path the last parts that no other of the paths ends in: "lr" for inner.optimizer.lr.
std::vector<std::string> short_names(const std::vector<std::string>& keys);

}  // namespace mixflow
