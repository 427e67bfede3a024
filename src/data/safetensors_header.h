// The header of a safetensors file: what tensors it says there are, and where.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"

namespace mixflow {

// What a tensor's numbers may be stored as; `other` stands for types that mixflow cannot read.
enum class StoredType : std::uint8_t {
  f32,
  f64,
  i32,
  i64,
  f16,
  bf16,
  i8,
  u8,
  i16,
  u16,
  u32,
  u64,
  boolean,
  other,
};

std::int64_t stored_bytes(StoredType type);     // of an element; 0: other
std::string_view stored_name(StoredType type);  // F32, F64, ..: as in the header
StoredType stored_type(DType dtype);
bool holds_whole_numbers(StoredType type);

struct StoredTensor {
  std::string name;
  StoredType type = StoredType::f32;
  std::string type_name;  // as the header has it
  Shape shape;
  std::uint64_t begin = 0, end = 0;  // bytes, from the end of the header
};

struct SafetensorsHeader {
  std::vector<StoredTensor> tensors;  // in the order of their bytes; names are unique
  std::map<std::string, std::string> metadata;
};

// The most bytes of a header; a tensor takes some 100.
inline constexpr std::uint64_t kMaxSafetensorsHeader = std::uint64_t{16} << 20;

// Takes memory in proportion to `text`. Throws UserError, its message beginning with `file`, for
// whatever does not hold: bad JSON, names that occur twice, sizes that do not fit shapes, tensors
// that overlap, lie beyond the `data_bytes` that follow or leave some of them to nobody.
SafetensorsHeader parse_safetensors_header(std::string_view text, std::uint64_t data_bytes,
                                           const std::string& file);

}  // namespace mixflow
