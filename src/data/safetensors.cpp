#include "data/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>
#include <type_traits>
#include <utility>

#include "data/stored_numbers.h"
#include "util/content_hash.h"
#include "util/error.h"
#include "util/file.h"

namespace mixflow {

static_assert(std::endian::native == std::endian::little, "numbers are copied as they are");

namespace {

constexpr std::size_t kPrefix = 8;
constexpr std::size_t kAlignment = 8;
constexpr std::size_t kMostChecksumPlace = 4096;  // metadata before it is short

// `use(T{})` for the type in memory; false for a type that cannot be read.
template <class Use>
bool with_type(StoredType type, Use use) {
  switch (type) {
    case StoredType::f32:
      return use(float{}), true;
    case StoredType::f64:
      return use(double{}), true;
    case StoredType::i32:
      return use(std::int32_t{}), true;
    case StoredType::i64:
      return use(std::int64_t{}), true;
    case StoredType::f16:
      return use(Float16{}), true;
    case StoredType::bf16:
      return use(BFloat16{}), true;
    case StoredType::i8:
      return use(std::int8_t{}), true;
    case StoredType::u8:
      return use(std::uint8_t{}), true;
    case StoredType::i16:
      return use(std::int16_t{}), true;
    case StoredType::u16:
      return use(std::uint16_t{}), true;
    case StoredType::u32:
      return use(std::uint32_t{}), true;
    case StoredType::u64:
      return use(std::uint64_t{}), true;
    case StoredType::boolean:
      return use(Truth{}), true;
    case StoredType::other:
      break;
  }
  return false;
}

template <class T>
T element(std::span<const std::byte> data, std::size_t i) {
  T value;
  std::memcpy(&value, data.data() + i * sizeof(T), sizeof(T));
  return value;
}

// The arithmetic value of an element.
template <class T>
auto plain(T value) {
  if constexpr (std::is_same_v<T, Truth>) {
    return static_cast<std::int32_t>(value);
  } else if constexpr (std::is_class_v<T>) {
    return static_cast<float>(value);
  } else {
    return value;
  }
}

template <class From, class To>
void convert(const NamedTensor& tensor, std::span<std::byte> to, const std::string& file) {
  for (std::size_t i = 0; i < to.size() / sizeof(To); ++i) {
    const auto value = plain(element<From>(tensor.data, i));
    if constexpr (std::is_integral_v<To>) {
      // An index or label that does not fit 32 bits must not wrap around.
      if (!std::in_range<To>(value)) {
        throw UserError(file + ": " + element_name(tensor.name, tensor.shape, i) + " is " +
                        std::to_string(value) + ", which does not fit 32 bits");
      }
    }
    const To result = static_cast<To>(value);
    std::memcpy(to.data() + i * sizeof(To), &result, sizeof(To));
  }
}

// Of the whole file, its size checked against the file's.
std::uint64_t header_size_of(std::span<const std::byte> prefix, std::uint64_t file_size,
                             const std::string& name) {
  std::uint64_t header_size = 0;
  if (file_size < kPrefix) {
    throw UserError(name + ": not a safetensors file (" + std::to_string(file_size) + " bytes)");
  }
  std::memcpy(&header_size, prefix.data(), kPrefix);
  if (header_size > file_size - kPrefix) {
    throw UserError(name + ": not a safetensors file, or truncated: a header of " +
                    std::to_string(header_size) + " bytes in a file of " +
                    std::to_string(file_size));
  }
  if (header_size > kMaxSafetensorsHeader) {
    throw UserError(name + ": a header of " + std::to_string(header_size) +
                    " bytes, expected at most " + std::to_string(kMaxSafetensorsHeader));
  }
  return header_size;
}

NamedTensor without_data(const StoredTensor& tensor) {
  return {.name = tensor.name, .type = tensor.type, .shape = tensor.shape, .data = {}};
}

}  // namespace

std::string element_name(const std::string& tensor, const Shape& shape, std::size_t index) {
  if (shape.empty()) return tensor;
  Shape at(shape.size());
  auto rest = static_cast<std::int64_t>(index);
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    at[axis] = rest % shape[axis];
    rest /= shape[axis];
  }
  return tensor + to_string(at);
}

const NamedTensor* TensorFile::find(std::string_view name) const {
  const auto found = std::ranges::find(tensors, name, &NamedTensor::name);
  return found == tensors.end() ? nullptr : &*found;
}

void copy_tensor(const NamedTensor& tensor, DType dtype, std::span<std::byte> out,
                 const std::string& file) {
  const std::int64_t elements = num_elements(tensor.shape);
  MIXFLOW_CHECK(static_cast<std::int64_t>(out.size()) == elements * dtype_bytes(dtype),
                tensor.name + ": the place for it has another size");
  if (dtype == DType::i32 && !holds_whole_numbers(tensor.type)) {
    throw UserError(file + ": " + tensor.name + ": holds " + std::string(stored_name(tensor.type)) +
                    ", expected whole numbers (I32 or I64)");
  }
  const bool known = with_type(tensor.type, [&](auto example) {
    using From = decltype(example);
    if (dtype == DType::f32) return convert<From, float>(tensor, out, file);
    if (dtype == DType::f64) return convert<From, double>(tensor, out, file);
    if constexpr (std::is_integral_v<decltype(plain(example))>) {
      return convert<From, std::int32_t>(tensor, out, file);
    }
  });
  if (!known) {
    throw UserError(file + ": " + tensor.name +
                    ": of a type that mixflow cannot read, expected F16, BF16, F32 or F64");
  }
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path) {
  const std::string name = path.string();
  const auto size = static_cast<std::uint64_t>(file_.bytes());
  std::array<std::byte, kPrefix> prefix{};
  file_.read_some(0, prefix);
  const std::uint64_t header_size = header_size_of(prefix, size, name);
  data_begin_ = kPrefix + header_size;
  std::string text(header_size, ' ');
  file_.read(kPrefix, std::as_writable_bytes(std::span(text)));
  header_ = parse_safetensors_header(text, size - data_begin_, name);
}

const StoredTensor* SafetensorsFile::find(std::string_view name) const {
  const auto found = std::ranges::find(header_.tensors, name, &StoredTensor::name);
  return found == header_.tensors.end() ? nullptr : &*found;
}

NamedTensor SafetensorsFile::read(const StoredTensor& tensor) const {
  NamedTensor result = without_data(tensor);
  result.data.resize(tensor.end - tensor.begin);
  file_.read(static_cast<std::int64_t>(data_begin_ + tensor.begin), result.data);
  return result;
}

TensorFile parse_safetensors(std::span<const std::byte> file, const std::string& name) {
  const std::uint64_t header_size = header_size_of(file, file.size(), name);
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + kPrefix, header_size);
  const std::span<const std::byte> data = file.subspan(kPrefix + header_size);
  SafetensorsHeader header = parse_safetensors_header(text, data.size(), name);
  TensorFile result;
  result.metadata = std::move(header.metadata);
  for (const StoredTensor& tensor : header.tensors) {
    result.tensors.push_back(without_data(tensor));
    const auto bytes = data.subspan(tensor.begin, tensor.end - tensor.begin);
    result.tensors.back().data.assign(bytes.begin(), bytes.end());
  }
  return result;
}

TensorFile read_safetensors(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  file.check_size();
  TensorFile result;
  result.metadata = file.metadata();
  for (const StoredTensor& tensor : file.tensors()) result.tensors.push_back(file.read(tensor));
  return result;
}

namespace {

constexpr std::string_view kChecksum = "checksum";
const std::string kUnknown(ContentHash::kDigits, '0');

// Where the checksum's digits begin in a file's first bytes; npos if there is none. Metadata is
// sorted by key and comes first in a header, and what we write has no blanks.
std::size_t checksum_place(std::string_view file) {
  const std::string key = "\"" + std::string(kChecksum) + "\":\"";
  const std::size_t at = file.find(key);
  if (at == std::string_view::npos) return at;
  const std::size_t digits = at + key.size();
  return digits + kUnknown.size() < file.size() ? digits : std::string_view::npos;
}

std::vector<TensorView> views_of(const TensorFile& file) {
  std::vector<TensorView> views;
  for (const NamedTensor& t : file.tensors) views.push_back({t.name, t.type, t.shape, t.data});
  return views;
}

// Header and tensors as they follow each other in the file.
struct Pieces {
  std::string header;  // its size included
  std::vector<std::span<const std::byte>> parts;
};

Pieces pieces_of(std::span<const TensorView> tensors,
                 const std::map<std::string, std::string>& metadata) {
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return stored_bytes(tensors[a].type) > stored_bytes(tensors[b].type);
  });
  std::vector<std::size_t> begin(tensors.size());
  std::size_t data_size = 0;
  for (std::size_t i : order) {
    begin[i] = data_size;
    data_size += tensors[i].data.size();
  }

  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const TensorView& tensor = tensors[i];
    MIXFLOW_CHECK(!header.contains(tensor.name), "tensor " + tensor.name + " is written twice");
    MIXFLOW_CHECK(static_cast<std::int64_t>(tensor.data.size()) ==
                      num_elements(tensor.shape) * stored_bytes(tensor.type),
                  tensor.name + ": data and shape differ in size");
    header[tensor.name] = {{"dtype", stored_name(tensor.type)},
                           {"shape", tensor.shape},
                           {"data_offsets", {begin[i], begin[i] + tensor.data.size()}}};
  }
  std::string text = header.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  text.append((kAlignment - text.size() % kAlignment) % kAlignment, ' ');
  const std::uint64_t header_size = text.size();

  Pieces pieces{std::string(kPrefix, '\0') + text, {}};
  std::memcpy(pieces.header.data(), &header_size, kPrefix);
  for (std::size_t i : order) pieces.parts.push_back(tensors[i].data);
  return pieces;
}

}  // namespace

void write_sealed_safetensors(const std::filesystem::path& path,
                              std::span<const TensorView> tensors,
                              std::map<std::string, std::string> metadata) {
  metadata[std::string(kChecksum)] = kUnknown;
  Pieces pieces = pieces_of(tensors, metadata);
  pieces.parts.insert(pieces.parts.begin(), std::as_bytes(std::span(pieces.header)));
  ContentHash hash;
  for (const auto& part : pieces.parts) hash.add(part);
  const std::string digits = hash.digits();
  const std::size_t place = checksum_place(pieces.header);
  MIXFLOW_CHECK(place != std::string::npos, "the header has no place for the checksum");
  std::ranges::copy(digits, pieces.header.begin() + static_cast<std::ptrdiff_t>(place));
  write_atomically(path, pieces.parts);
}

bool is_whole(std::span<const std::byte> file) {
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  const std::size_t place = checksum_place(text.substr(0, kMostChecksumPlace));
  if (place == std::string_view::npos) return false;
  ContentHash hash;
  hash.add(text.substr(0, place));
  hash.add(kUnknown);
  hash.add(text.substr(place + kUnknown.size()));
  return hash.digits() == text.substr(place, kUnknown.size());
}

std::vector<std::byte> format_safetensors(const TensorFile& file) {
  const Pieces pieces = pieces_of(views_of(file), file.metadata);
  const auto header = std::as_bytes(std::span(pieces.header));
  std::vector<std::byte> bytes(header.begin(), header.end());
  for (const auto& part : pieces.parts) bytes.insert(bytes.end(), part.begin(), part.end());
  return bytes;
}

void write_safetensors(const std::filesystem::path& path, const TensorFile& file) {
  write_safetensors(path, views_of(file), file.metadata);
}

void write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                       const std::map<std::string, std::string>& metadata) {
  Pieces pieces = pieces_of(tensors, metadata);
  pieces.parts.insert(pieces.parts.begin(), std::as_bytes(std::span(pieces.header)));
  write_atomically(path, pieces.parts);
}

}  // namespace mixflow
