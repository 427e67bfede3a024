// The types of numbers that array files hold, and how they become float and double.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mixflow {

struct ElementType {
  enum class Kind : std::uint8_t { truth, integer, floating, text };

  std::string_view name;  // float32, as NumPy calls it
  Kind kind = Kind::floating;
  std::size_t bytes = 0;
  // `count` numbers that follow each other, at any alignment, as doubles or floats (rounded to
  // nearest; 64-bit integers by way of a double).
  void (*to_f64)(const std::byte* from, std::int64_t count, double* to) = nullptr;
  void (*to_f32)(const std::byte* from, std::int64_t count, float* to) = nullptr;
};

// By a .npy's type string: "<f4", ">i2", "|b1", "?", "float16", or "<V2", which is how NumPy writes
// bfloat16. Both byte orders; '|', '=' and no sign at all mean little-endian. Null for anything
// else.
const ElementType* element_type_of(std::string_view descr);

// Doubles under the name "number", for what is not read from an array file.
const ElementType& number_element();
// int32 codes of texts (Array::texts), under the name "text".
const ElementType& text_element();

}  // namespace mixflow
