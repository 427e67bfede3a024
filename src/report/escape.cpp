#include "report/escape.h"

#include <cstdint>
#include <cstdio>

namespace mixflow {
namespace {

// The next character of `text`, which is taken off; bytes that are no UTF-8 count as U+FFFD.
std::uint32_t take_character(std::string_view& text) {
  const auto lead = static_cast<unsigned char>(text.front());
  text.remove_prefix(1);
  if (lead < 0x80) return lead;
  const int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC2 ? 1 : -1;
  if (more < 0 || text.size() < static_cast<std::size_t>(more)) return 0xFFFD;
  std::uint32_t code = lead & (0x3FU >> more);
  for (int i = 0; i < more; ++i) {
    const auto byte = static_cast<unsigned char>(text[static_cast<std::size_t>(i)]);
    if ((byte & 0xC0U) != 0x80) return 0xFFFD;
    code = code << 6U | (byte & 0x3FU);
  }
  text.remove_prefix(static_cast<std::size_t>(more));
  return code;
}

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }

std::string latex_character(std::uint32_t code, std::string_view bytes) {
  switch (code) {
    case '\\':
      return "\\textbackslash{}";
    case '~':
      return "\\textasciitilde{}";
    case '^':
      return "\\textasciicircum{}";
    case '<':
      return "$<$";
    case '>':
      return "$>$";
    case '|':
      return "$|$";
    case '"':
      return "''";
    case 0xB1:
      return "$\\pm$";
    case 0x2013:
      return "--";
    default:
      break;
  }
  if (code < 0x80) {
    const char c = static_cast<char>(code);
    if (is_control(c)) return " ";
    const bool special = std::string_view("#$%&_{}").find(c) != std::string_view::npos;
    return (special ? "\\" : "") + std::string(1, c);
  }
  // Accented letters of Latin-1, but for those that the default fonts have no shapes of.
  const bool letter = code >= 0xC0 && code <= 0xFF && code != 0xD0 && code != 0xD7 &&
                      code != 0xDE && code != 0xF0 && code != 0xF7 && code != 0xFE;
  if (letter) return std::string(bytes);
  char number[16];
  std::snprintf(number, sizeof number, "U+%04X", code);
  return number;
}

}  // namespace

std::string html_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += is_control(c) ? ' ' : c;
    }
  }
  return out;
}

std::string markdown_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '<') {
      out += "&lt;";
      continue;
    }
    if (std::string_view("\\|*`").find(c) != std::string_view::npos) out += '\\';
    out += is_control(c) ? ' ' : c;
  }
  return out;
}

std::string latex_escaped(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::string_view before = text;
    const std::uint32_t code = take_character(text);
    out += latex_character(code, before.substr(0, before.size() - text.size()));
  }
  return out;
}

}  // namespace mixflow
