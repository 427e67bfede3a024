#include "util/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace mixflow {
namespace {

// Length of the well-formed character at `text[at]`, or 0 (Unicode 15, table 3-7).
std::size_t utf8_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0U;
  };
  const auto in = [](unsigned b, unsigned low, unsigned high) { return b >= low && b <= high; };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  // The second byte's range shuts out overlong forms, surrogates and what lies beyond U+10FFFF.
  const unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (!in(byte(1), low, high)) return 0;
  if (in(lead, 0xC2, 0xDF)) return 2;
  if (!in(byte(2), 0x80, 0xBF)) return 0;
  if (in(lead, 0xE0, 0xEF)) return 3;
  return in(lead, 0xF0, 0xF4) && in(byte(3), 0x80, 0xBF) ? 4 : 0;
}

// Whether the well-formed character at text[at] is one that changes how a terminal goes on: C0 and
// C1 controls, and embeddings, overrides and isolates of the direction.
bool is_control(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
  if (byte(0) < 0x20 || byte(0) == 0x7F) return true;
  if (byte(0) == 0xC2) return byte(1) < 0xA0;
  if (byte(0) != 0xE2) return false;
  return (byte(1) == 0x80 && byte(2) >= 0xA8 && byte(2) <= 0xAE) ||  // U+2028 to U+202E
         (byte(1) == 0x81 && byte(2) >= 0xA6 && byte(2) <= 0xA9);    // U+2066 to U+2069
}

unsigned code_point(std::string_view character) {
  const auto lead = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return lead;
  unsigned code = lead & (0x7FU >> character.size());
  for (const char c : character.substr(1)) code = code << 6U | (static_cast<unsigned>(c) & 0x3FU);
  return code;
}

// Takes the character at text[at], or a byte that is none; returns how it is shown.
std::string shown_character(std::string_view text, std::size_t& at) {
  const std::size_t length = utf8_length(text, at);
  std::array<char, 12> escape{};
  if (length == 0) {
    std::snprintf(escape.data(), escape.size(), "\\x%02x", static_cast<unsigned char>(text[at]));
  } else if (is_control(text, at)) {
    std::snprintf(escape.data(), escape.size(), "\\u%04x", code_point(text.substr(at, length)));
  }
  const std::string_view itself = text.substr(at, std::max<std::size_t>(length, 1));
  at += itself.size();
  return escape[0] != 0 ? std::string(escape.data()) : std::string(itself);
}

std::string folded(std::string_view word) {
  std::string out(word);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (c == '-') c = '_';
  }
  return out;
}

template <class Word>
std::string join_words(std::span<const Word> words, std::string_view separator) {
  std::string out;
  for (const auto& word : words) {
    if (!out.empty()) out += separator;
    out += word;
  }
  return out;
}

}  // namespace

std::string in_quotes(std::string_view text, std::size_t limit) {
  std::string out = "\"";
  std::size_t used = 0;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = std::max<std::size_t>(utf8_length(text, i), 1);
    if (used + length > limit) return out + "...\"";
    const auto c = static_cast<unsigned char>(text[i]);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += text[i];
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (utf8_length(text, i) == 0) {
      std::array<char, 8> escape{};
      std::snprintf(escape.data(), escape.size(), "\\u%04x", c);
      out += escape.data();
    } else {
      std::size_t at = i;
      out += shown_character(text, at);
    }
    used += length;
    i += length;
  }
  return out + '"';
}

std::string visible(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const bool line_end = text[i] == '\n' || text.substr(i, 2) == "\r\n";
    if (line_end || text[i] == '\t') {
      out += text[i++];
    } else {
      out += shown_character(text, i);
    }
  }
  return out;
}

std::string visible_line(std::string_view text) {
  std::string out;
  for (const char c : visible(text)) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else {
      out += c;
    }
  }
  return out;
}

std::string number_text(double value) {
  if (std::isnan(value)) return ".nan";
  if (std::isinf(value)) return value > 0 ? ".inf" : "-.inf";
  std::array<char, 32> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  return {buffer.data(), end};
}

std::string join(std::span<const std::string_view> words, std::string_view separator) {
  return join_words(words, separator);
}

std::string join(std::span<const std::string> words, std::string_view separator) {
  return join_words(words, separator);
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

int edit_distance(std::string_view a, std::string_view b) {
  // Rows i-2, i-1 and i of the table of distances between prefixes.
  std::vector<int> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = static_cast<int>(j);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    before.swap(above);
    above.swap(row);
    row[0] = static_cast<int>(i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const int differs = a[i - 1] != b[j - 1];
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + differs});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row[b.size()];
}

std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates) {
  constexpr std::size_t kLongest =
      64;  // no key or value is longer; bounds the work on hostile input
  if (word.size() > kLongest) return {};
  const std::string mine = folded(word);
  std::string_view best;
  int best_distance = 0;
  for (const std::string_view candidate : candidates) {
    const int distance = edit_distance(mine, folded(candidate));
    const int allowed = std::max(1, static_cast<int>(std::max(word.size(), candidate.size())) / 3);
    // Words of one or two letters are a letter apart from too much to be worth offering.
    const bool tiny = std::min(word.size(), candidate.size()) < 2 && distance > 0;
    if (tiny || distance > allowed || (!best.empty() && distance >= best_distance)) continue;
    best = candidate;
    best_distance = distance;
  }
  return best;
}

std::optional<std::size_t> first_invalid_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text, i);
    if (length == 0) return i;
    i += length;
  }
  return std::nullopt;
}

std::vector<std::string> short_names(const std::vector<std::string>& keys) {
  const auto last_parts = [](const std::string& key, std::size_t parts) {
    std::size_t at = key.size();
    for (; parts > 0 && at != std::string::npos && at > 0; --parts) at = key.rfind('.', at - 1);
    return parts > 0 || at == std::string::npos ? key : key.substr(at + 1);
  };
  std::vector<std::string> names;
  for (const std::string& key : keys) {
    std::string name;
    for (std::size_t parts = 1; name != key; ++parts) {
      name = last_parts(key, parts);
      const auto same = [&](const std::string& other) { return last_parts(other, parts) == name; };
      if (std::ranges::count_if(keys, same) == 1) break;
    }
    names.push_back(name);
  }
  return names;
}

}  // namespace mixflow
