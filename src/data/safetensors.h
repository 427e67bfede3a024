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

#include "data/safetensors_header.h"
#include "util/input_file.h"

namespace mixflow {

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
// Integers may become floats, never the reverse, and are not cut to 32 bits: that is a UserError
// naming `file`, the tensor and the element.
void copy_tensor(const NamedTensor& tensor, DType dtype, std::span<std::byte> out,
                 const std::string& file);

// An element in messages: "eta.lr[0,2]", or the name alone of a scalar.
std::string element_name(const std::string& tensor, const Shape& shape, std::size_t index);

// A file whose header has been read, and whose tensors are read one by one.
class SafetensorsFile {
 public:
  // Throws UserError naming the file (and tensor) for whatever does not hold in it.
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::vector<StoredTensor>& tensors() const { return header_.tensors; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  const StoredTensor* find(std::string_view name) const;  // null if there is none
  NamedTensor read(const StoredTensor& tensor) const;
  void check_size() const { file_.check_size(); }  // UserError if memory cannot hold all of them

 private:
  InputFile file_;
  SafetensorsHeader header_;
  std::uint64_t data_begin_ = 0;
};

// Reads all tensors, in the order of their bytes. Throws UserError naming the file (and tensor) for
// whatever does not hold in it: truncated, overlapping or missing bytes, sizes that do not fit
// shapes, bad JSON, names that occur twice.
TensorFile read_safetensors(const std::filesystem::path& path);
TensorFile parse_safetensors(std::span<const std::byte> file, const std::string& name);

// Writes atomically (util/file.h). Tensors keep their order in the header; in the file wide types
// come first, so each tensor is aligned to its element and can be mapped.
void write_safetensors(const std::filesystem::path& path, const TensorFile& file);
// The same without a copy of the tensors in memory.
void write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                       const std::map<std::string, std::string>& metadata);

// With the hash of the whole file (util/content_hash.h) as metadata "checksum", which itself counts
// as zeros.
void write_sealed_safetensors(const std::filesystem::path& path,
                              std::span<const TensorView> tensors,
                              std::map<std::string, std::string> metadata);
// Whether the bytes are those that write_sealed_safetensors wrote.
bool is_whole(std::span<const std::byte> sealed_file);

std::vector<std::byte> format_safetensors(const TensorFile& file);

}  // namespace mixflow
