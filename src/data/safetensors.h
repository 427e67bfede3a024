// The safetensors format, mixflow's exchange and checkpoint format: eight bytes of header size, a
// JSON header {name: {dtype, shape, data_offsets: [begin, end]}}, then the tensors' bytes,
// little-endian and without gaps.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"

namespace mixflow {

// What a file may hold: the graph's types, and i64, NumPy's and PyTorch's default for integers.
enum class StoredType : std::uint8_t { f32, f64, i32, i64 };

std::int64_t stored_bytes(StoredType type);
std::string_view stored_name(StoredType type);  // F32, F64, I32, I64: as in the header
StoredType stored_type(DType dtype);

struct NamedTensor {
  std::string name;
  StoredType type = StoredType::f32;
  Shape shape;
  std::vector<std::byte> data;  // row-major; its size is that of type and shape

  friend bool operator==(const NamedTensor&, const NamedTensor&) = default;
};

// A tensor to be written from where it is.
struct TensorView {
  std::string name;
  StoredType type = StoredType::f32;
  Shape shape;
  std::span<const std::byte> data;
};

struct TensorFile {
  std::vector<NamedTensor> tensors;             // names are unique
  std::map<std::string, std::string> metadata;  // `__metadata__`: free text

  const NamedTensor* find(std::string_view name) const;  // null if there is none
};

// Copies `tensor` into `out`, converting between types: out holds the tensor's elements as `dtype`.
// Integers may become floats, never the reverse: that is a UserError naming `file` and the tensor.
void copy_tensor(const NamedTensor& tensor, DType dtype, std::span<std::byte> out,
                 const std::string& file);

// Reads all tensors, in the order of their bytes. Throws UserError naming the file (and tensor) for
// whatever does not hold in it: truncated, overlapping or missing bytes, sizes that do not fit
// shapes, types other than the four, bad JSON, names that occur twice.
TensorFile read_safetensors(const std::filesystem::path& path);
TensorFile parse_safetensors(std::span<const std::byte> file, const std::string& name);

// Writes atomically (util/file.h). Tensors keep their order in the header; in the file wide types
// come first, so each tensor is aligned to its element and can be mapped.
void write_safetensors(const std::filesystem::path& path, const TensorFile& file);
// The same without a copy of the tensors in memory.
void write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                       const std::map<std::string, std::string>& metadata);
std::vector<std::byte> format_safetensors(const TensorFile& file);

}  // namespace mixflow
