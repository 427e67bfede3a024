#include "data/npy.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <string_view>

#include "util/error.h"

namespace mixflow {

static_assert(std::endian::native == std::endian::little, "numbers are copied as they are");

namespace {

// The header's text: a Python literal such as {'descr': '<f4', 'fortran_order': False, 'shape': (3,
// 4), }
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

template <class T>
void convert(const std::byte* from, std::vector<double>& to) {
  for (std::size_t i = 0; i < to.size(); ++i) {
    T value;
    std::memcpy(&value, from + i * sizeof(T), sizeof(T));
    to[i] = static_cast<double>(value);
  }
}

struct Format {
  std::string_view descr;
  const char* dtype;
  std::size_t bytes;
  void (*convert)(const std::byte*, std::vector<double>&);
};

constexpr std::array kFormats = {
    Format{"<f4", "float32", 4, convert<float>},
    Format{"<f8", "float64", 8, convert<double>},
    Format{"<i4", "int32", 4, convert<std::int32_t>},
    Format{"<i8", "int64", 8, convert<std::int64_t>},
    Format{"|u1", "uint8", 1, convert<std::uint8_t>},
    // Read as bytes: a bool that is neither 0 nor 1 must not be undefined behaviour.
    Format{"|b1", "bool", 1, convert<std::uint8_t>},
};

const Format& find_format(const std::string& descr, const std::string& name) {
  for (const Format& format : kFormats) {
    if (format.descr == descr) return format;
  }
  if (descr.starts_with("|O")) {
    throw UserError(name +
                    ": an array of Python objects (dtype object), expected plain numbers; save "
                    "it again with .astype(\"float32\")");
  }
  throw UserError(
      name + ": dtype '" + descr +
      "' is not supported, expected little-endian float32, float64, int32, int64, uint8 "
      "or bool");
}

// The values of an array stored with the first axis varying fastest, in row-major order.
std::vector<double> from_fortran(const std::vector<double>& stored, const Shape& shape) {
  std::vector<double> result(stored.size());
  Shape index(shape.size(), 0);
  Shape stride(shape.size(), 1);
  for (std::size_t axis = 1; axis < shape.size(); ++axis) {
    stride[axis] = stride[axis - 1] * shape[axis - 1];
  }
  std::int64_t from = 0;
  for (double& value : result) {
    value = stored[static_cast<std::size_t>(from)];
    for (std::size_t axis = shape.size(); axis-- > 0;) {
      from += stride[axis];
      if (++index[axis] < shape[axis]) break;
      from -= stride[axis] * shape[axis];
      index[axis] = 0;
    }
  }
  return result;
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

void check_npy_size(const NpyParts& parts, std::size_t item_bytes, const std::string& dtype,
                    const std::string& name) {
  const std::string type = dtype + to_string(parts.shape);
  // Extents of zero count as one in `limit`: no product of some of the extents may overflow either.
  auto limit = static_cast<std::int64_t>(item_bytes);
  std::int64_t expected = limit;
  for (std::int64_t extent : parts.shape) {
    if (__builtin_mul_overflow(limit, std::max<std::int64_t>(extent, 1), &limit)) {
      throw UserError(name + ": the .npy header gives an impossible shape " + type);
    }
    expected *= extent;
  }
  const std::size_t found = parts.data.size();
  if (found == static_cast<std::size_t>(expected)) return;
  throw UserError(name + ": " +
                  (found < static_cast<std::size_t>(expected) ? "truncated" : "too long") + ": " +
                  std::to_string(found) + " bytes of data found, " + std::to_string(expected) +
                  " expected for " + type);
}

Array parse_npy(std::span<const std::byte> file, const std::string& name) {
  const NpyParts parts = split_npy(file, name);
  const Format& format = find_format(parts.descr, name);
  check_npy_size(parts, format.bytes, format.dtype, name);
  Array array{.name = name, .dtype = format.dtype, .shape = parts.shape, .values = {}};
  array.values.resize(parts.data.size() / format.bytes);
  format.convert(parts.data.data(), array.values);
  if (parts.fortran_order) array.values = from_fortran(array.values, parts.shape);
  return array;
}

}  // namespace mixflow
