#include "data/element_type.h"

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstring>
#include <type_traits>

#include "data/stored_numbers.h"

namespace mixflow {

static_assert(std::endian::native == std::endian::little, "the table below says which are swapped");

namespace {

using Kind = ElementType::Kind;

template <std::size_t bytes>
using UnsignedOf = std::conditional_t<
    bytes == 1, std::uint8_t,
    std::conditional_t<bytes == 2, std::uint16_t,
                       std::conditional_t<bytes == 4, std::uint32_t, std::uint64_t>>>;

template <class Bits>
Bits swap_bytes(Bits bits) {
  if constexpr (sizeof(Bits) == 2) return static_cast<Bits>(bits << 8U | bits >> 8U);
  if constexpr (sizeof(Bits) == 4) return __builtin_bswap32(bits);
  if constexpr (sizeof(Bits) == 8) return __builtin_bswap64(bits);
  return bits;
}

template <class T, bool swapped, class To>
void convert(const std::byte* from, std::int64_t count, To* to) {
  using Bits = UnsignedOf<sizeof(T)>;
  for (std::int64_t i = 0; i < count; ++i) {
    Bits bits;
    std::memcpy(&bits, from + static_cast<std::size_t>(i) * sizeof(T), sizeof(T));
    if constexpr (swapped) bits = swap_bytes(bits);
    const T value = std::bit_cast<T>(bits);
    if constexpr (std::integral<T> && sizeof(T) == 8) {
      to[i] = static_cast<To>(static_cast<double>(value));
    } else {
      to[i] = static_cast<To>(value);
    }
  }
}

struct Entry {
  char letter;  // of a .npy's type string
  bool swapped;
  ElementType type;
};

template <class T, bool swapped = false>
constexpr Entry entry(char letter, std::string_view name, Kind kind) {
  return {letter,
          swapped,
          {.name = name,
           .kind = kind,
           .bytes = sizeof(T),
           .to_f64 = convert<T, swapped, double>,
           .to_f32 = convert<T, swapped, float>}};
}

constexpr std::array kTypes = {
    entry<Truth>('b', "bool", Kind::truth),
    entry<std::int8_t>('i', "int8", Kind::integer),
    entry<std::uint8_t>('u', "uint8", Kind::integer),
    entry<std::int16_t>('i', "int16", Kind::integer),
    entry<std::int16_t, true>('i', "int16", Kind::integer),
    entry<std::uint16_t>('u', "uint16", Kind::integer),
    entry<std::uint16_t, true>('u', "uint16", Kind::integer),
    entry<std::int32_t>('i', "int32", Kind::integer),
    entry<std::int32_t, true>('i', "int32", Kind::integer),
    entry<std::uint32_t>('u', "uint32", Kind::integer),
    entry<std::uint32_t, true>('u', "uint32", Kind::integer),
    entry<std::int64_t>('i', "int64", Kind::integer),
    entry<std::int64_t, true>('i', "int64", Kind::integer),
    entry<std::uint64_t>('u', "uint64", Kind::integer),
    entry<std::uint64_t, true>('u', "uint64", Kind::integer),
    entry<Float16>('f', "float16", Kind::floating),
    entry<Float16, true>('f', "float16", Kind::floating),
    entry<BFloat16>('V', "bfloat16", Kind::floating),
    entry<BFloat16, true>('V', "bfloat16", Kind::floating),
    entry<float>('f', "float32", Kind::floating),
    entry<float, true>('f', "float32", Kind::floating),
    entry<double>('f', "float64", Kind::floating),
    entry<double, true>('f', "float64", Kind::floating),
};

// NumPy's one-letter names, without a size.
struct Letter {
  char name;
  char letter;
  std::size_t bytes;
};
constexpr std::array kLetters = {
    Letter{'?', 'b', 1}, Letter{'b', 'i', 1}, Letter{'B', 'u', 1}, Letter{'h', 'i', 2},
    Letter{'H', 'u', 2}, Letter{'i', 'i', 4}, Letter{'I', 'u', 4}, Letter{'l', 'i', 8},
    Letter{'L', 'u', 8}, Letter{'q', 'i', 8}, Letter{'Q', 'u', 8}, Letter{'e', 'f', 2},
    Letter{'f', 'f', 4}, Letter{'d', 'f', 8},
};

const ElementType* find(char letter, std::size_t bytes, bool swapped) {
  const auto found = std::ranges::find_if(kTypes, [&](const Entry& entry) {
    return entry.letter == letter && entry.type.bytes == bytes &&
           entry.swapped == (swapped && bytes > 1);
  });
  return found == kTypes.end() ? nullptr : &found->type;
}

}  // namespace

const ElementType* element_type_of(std::string_view descr) {
  const auto named = std::ranges::find_if(
      kTypes, [&](const Entry& entry) { return entry.type.name == descr && !entry.swapped; });
  if (named != kTypes.end()) return &named->type;
  const bool swapped = descr.starts_with('>') || descr.starts_with('!');
  if (swapped || descr.starts_with('<') || descr.starts_with('|') || descr.starts_with('=')) {
    descr.remove_prefix(1);
  }
  if (descr == "?1") descr = "b1";
  if (descr.size() == 1) {
    const auto letter = std::ranges::find(kLetters, descr[0], &Letter::name);
    return letter == kLetters.end() ? nullptr : find(letter->letter, letter->bytes, swapped);
  }
  if (descr.size() != 2 || descr[1] < '1' || descr[1] > '8') return nullptr;
  return find(descr[0], static_cast<std::size_t>(descr[1] - '0'), swapped);
}

const ElementType& number_element() {
  static constexpr ElementType type = entry<double>('f', "number", Kind::floating).type;
  return type;
}

const ElementType& text_element() {
  static constexpr ElementType type = entry<std::int32_t>('i', "text", Kind::text).type;
  return type;
}

}  // namespace mixflow
