#include "data/npy.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>

#include "util/error.h"
#include "util/text.h"

namespace mixflow {

namespace {

// The header's text, a Python literal such as
//   {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  // All parts but the data.
  NpyParts parse() {
    NpyParts header;
    bool descr = false, order = false, shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr") {
        if (peek() == '[') {
          throw UserError(name_ +
                          ": a structured array (records with named fields), expected plain "
                          "numbers; save each field as an array of its own");
        }
        header.descr = quoted();
        descr = true;
      } else if (key == "fortran_order") {
        header.fortran_order = boolean();
        order = true;
      } else if (key == "shape") {
        header.shape = tuple();
        shape = true;
      } else {
        fail();
      }
      if (!accept(',') && peek() != '}') fail();
    }
    if (!descr || !order || !shape) fail();
    return header;
  }

 private:
  [[noreturn]] void fail() const {
    throw UserError(name_ + ": the .npy header is damaged near byte " + std::to_string(at_) +
                    " of its text");
  }
  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool accept(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail();
  }
  std::string quoted() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') fail();
    const std::size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) fail();
    const std::string result(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return result;
  }
  bool boolean() {
    peek();
    for (const auto& [word, value] : {std::pair("True", true), std::pair("False", false)}) {
      if (text_.substr(at_).starts_with(word)) {
        at_ += std::strlen(word);
        return value;
      }
    }
    fail();
  }
  Shape tuple() {
    Shape shape;
    expect('(');
    while (!accept(')')) {
      peek();
      std::int64_t extent = 0;
      const char* begin = text_.data() + at_;
      const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), extent);
      if (error != std::errc{} || extent < 0) fail();
      at_ += static_cast<std::size_t>(end - begin);
      shape.push_back(extent);
      if (!accept(',') && peek() != ')') fail();
    }
    return shape;
  }

  std::string_view text_;
  const std::string& name_;
  std::size_t at_ = 0;
};

// What numpy.save writes that is no type of numbers, by its letter, and what to do about it.
struct Refused {
  std::string_view letters, what, remedy;
};
constexpr std::array kRefused = {
    Refused{"O", "an array of Python objects (dtype object)", ".astype(\"float32\")"},
    Refused{"USa", "an array of texts", ".astype(\"float32\"); only labels may be texts"},
    Refused{"Mm", "an array of dates or times", ".astype(\"int64\").astype(\"float64\")"},
    Refused{"c", "an array of complex numbers", "numpy.stack([a.real, a.imag], -1)"},
    Refused{"fg", "an array of long doubles", ".astype(\"float64\")"},
};

[[noreturn]] void fail_type(const std::string& descr, const std::string& name) {
  const std::size_t at = descr.find_first_not_of("<>|=");
  const char letter = at == std::string::npos ? '\0' : descr[at];
  for (const Refused& refused : kRefused) {
    if (refused.letters.find(letter) == std::string_view::npos) continue;
    throw UserError(name + ": " + std::string(refused.what) +
                    ", expected plain numbers; save it again with " + std::string(refused.remedy));
  }
  throw UserError(name + ": dtype '" + descr +
                  "' is not supported, expected integers of 8 to 64 bits, bool, float16, bfloat16, "
                  "float32 or float64; save it again with .astype(\"float32\")");
}

// Characters per text of NumPy's fixed-width texts, "<U3" or "|S3".
struct TextForm {
  bool wide = false;  // UCS-4
  bool swapped = false;
  std::size_t characters = 0;
  std::size_t bytes() const { return characters * (wide ? 4 : 1); }
};

std::optional<TextForm> text_form(std::string_view descr) {
  TextForm form{.swapped = descr.starts_with('>')};
  if (!descr.empty() && std::string_view("<>|=").find(descr[0]) != std::string_view::npos) {
    descr.remove_prefix(1);
  }
  if (descr.empty() || (descr[0] != 'U' && descr[0] != 'S' && descr[0] != 'a')) return {};
  form.wide = descr[0] == 'U';
  const char* end = descr.data() + descr.size();
  const auto [stop, error] = std::from_chars(descr.data() + 1, end, form.characters);
  constexpr std::size_t kMost = 1 << 20;
  if (error != std::errc{} || stop != end || form.characters == 0 || form.characters > kMost) {
    return {};
  }
  return form;
}

void append_utf8(std::string& text, std::uint32_t c) {
  const auto put = [&](std::uint32_t byte) { text += static_cast<char>(byte); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6U);
    put(0x80 | (c & 0x3FU));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12U);
    put(0x80 | (c >> 6U & 0x3FU));
    put(0x80 | (c & 0x3FU));
  } else {
    put(0xF0 | (c >> 18U & 0x07U));
    put(0x80 | (c >> 12U & 0x3FU));
    put(0x80 | (c >> 6U & 0x3FU));
    put(0x80 | (c & 0x3FU));
  }
}

// NumPy fills up with zeros.
std::string text_at(const std::byte* from, const TextForm& form) {
  std::string text;
  for (std::size_t i = 0; i < form.characters; ++i) {
    std::uint32_t c = 0;
    if (form.wide) {
      std::memcpy(&c, from + 4 * i, 4);
      if (form.swapped) c = __builtin_bswap32(c);
    } else {
      c = std::to_integer<std::uint32_t>(from[i]);
    }
    if (c == 0) break;
    form.wide ? append_utf8(text, c) : text.push_back(static_cast<char>(c));
  }
  return text;
}

Array parse_texts(const NpyParts& parts, const TextForm& form, const std::string& name) {
  check_npy_size(parts, form.bytes(), "text", name);
  TextColumn column;
  for (std::size_t at = 0; at < parts.data.size(); at += form.bytes()) {
    column.add(text_at(parts.data.data() + at, form));
  }
  Array array = column.finish(name);
  array.shape = parts.shape;
  if (parts.fortran_order && std::ranges::count_if(parts.shape, [](auto n) { return n > 1; }) > 1) {
    throw UserError(name + ": texts in Fortran order, expected one axis");
  }
  return array;
}

// Whether the order of the axes shows.
bool must_be_reordered(const NpyParts& parts) {
  return parts.fortran_order &&
         std::ranges::count_if(parts.shape, [](std::int64_t n) { return n > 1; }) > 1;
}

// Elements stored with the first axis varying fastest, in row-major order.
SharedBytes from_fortran(std::span<const std::byte> stored, const Shape& shape, std::size_t bytes) {
  std::vector<std::byte> result(stored.size());
  Shape index(shape.size(), 0);
  Shape stride(shape.size(), static_cast<std::int64_t>(bytes));
  for (std::size_t axis = 1; axis < shape.size(); ++axis) {
    stride[axis] = stride[axis - 1] * shape[axis - 1];
  }
  std::int64_t from = 0;
  for (std::size_t to = 0; to < result.size(); to += bytes) {
    std::memcpy(result.data() + to, stored.data() + from, bytes);
    for (std::size_t axis = shape.size(); axis-- > 0;) {
      from += stride[axis];
      if (++index[axis] < shape[axis]) break;
      from -= stride[axis] * shape[axis];
      index[axis] = 0;
    }
  }
  return SharedBytes::own(std::move(result));
}

std::size_t read_little_endian(std::span<const std::byte> bytes) {
  std::size_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;)
    value = value << 8 | std::to_integer<std::size_t>(bytes[i]);
  return value;
}

}  // namespace

NpyParts split_npy(std::span<const std::byte> file, const std::string& name) {
  constexpr std::string_view kMagic = "\x93NUMPY";
  if (file.size() < 10 || std::memcmp(file.data(), kMagic.data(), kMagic.size()) != 0) {
    throw UserError(name + ": not a .npy file (it does not begin with \\x93NUMPY)");
  }
  const int version = std::to_integer<int>(file[6]);
  if (version < 1 || version > 3) {
    throw UserError(name + ": .npy version " + std::to_string(version) + ", expected 1, 2 or 3");
  }
  const std::size_t length_bytes = version == 1 ? 2 : 4;
  const std::size_t header_begin = 8 + length_bytes;
  const std::size_t header_size =
      file.size() < header_begin ? 0 : read_little_endian(file.subspan(8, length_bytes));
  if (file.size() < header_begin || file.size() - header_begin < header_size) {
    throw UserError(name + ": truncated inside the .npy header (" + std::to_string(file.size()) +
                    " bytes in all)");
  }
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + header_begin,
                              header_size);
  NpyParts parts = HeaderParser(text, name).parse();
  parts.data = file.subspan(header_begin + header_size);
  return parts;
}

namespace {

// What elements of a shape take; UserError where that is beyond any file.
std::int64_t shape_bytes(const Shape& shape, std::size_t item_bytes, const std::string& dtype,
                         const std::string& name) {
  // Extents of zero count as one in `limit`: no product of some of the extents may overflow either.
  auto limit = static_cast<std::int64_t>(item_bytes);
  std::int64_t bytes = limit;
  for (std::int64_t extent : shape) {
    if (__builtin_mul_overflow(limit, std::max<std::int64_t>(extent, 1), &limit)) {
      throw UserError(name + ": the .npy header gives an impossible shape " + dtype +
                      to_string(shape));
    }
    bytes *= extent;
  }
  return bytes;
}

void check_size(const Shape& shape, std::size_t found, std::size_t item_bytes,
                const std::string& dtype, const std::string& name) {
  const auto expected = static_cast<std::size_t>(shape_bytes(shape, item_bytes, dtype, name));
  if (found == expected) return;
  throw UserError(name + ": " + (found < expected ? "truncated" : "too long") + ": " +
                  std::to_string(found) + " bytes of data found, " + std::to_string(expected) +
                  " expected for " + dtype + to_string(shape));
}

}  // namespace

void check_npy_size(const NpyParts& parts, std::size_t item_bytes, const std::string& dtype,
                    const std::string& name) {
  check_size(parts.shape, parts.data.size(), item_bytes, dtype, name);
}

ArraySchema parse_npy_schema(std::span<const std::byte> begin, std::size_t file_bytes,
                             const std::string& name, std::int64_t owned_bytes) {
  const NpyParts parts = split_npy(begin, name);
  const std::size_t data_bytes = file_bytes - (begin.size() - parts.data.size());
  ArraySchema schema{.name = name, .shape = parts.shape, .owned_bytes = owned_bytes};
  if (const std::optional<TextForm> form = text_form(parts.descr)) {
    schema.element = &text_element();
    check_size(parts.shape, data_bytes, form->bytes(), "text", name);
    return schema;
  }
  schema.element = element_type_of(parts.descr);
  if (schema.element == nullptr) fail_type(parts.descr, name);
  check_size(parts.shape, data_bytes, schema.element->bytes, std::string(schema.element->name),
             name);
  if (must_be_reordered(parts)) schema.owned_bytes += static_cast<std::int64_t>(data_bytes);
  return schema;
}

Array parse_npy(const SharedBytes& file, const std::string& name) {
  const NpyParts parts = split_npy(file.span(), name);
  if (const std::optional<TextForm> form = text_form(parts.descr)) {
    return parse_texts(parts, *form, name);
  }
  Array array;
  static_cast<ArraySchema&>(array) = parse_npy_schema(
      file.span(), file.size(), name, file.mapped() ? 0 : static_cast<std::int64_t>(file.size()));
  array.bytes = must_be_reordered(parts)
                    ? from_fortran(parts.data, parts.shape, array.element->bytes)
                    : file.part(parts.data);
  return array;
}

}  // namespace mixflow
