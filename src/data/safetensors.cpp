#include "data/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <tuple>
#include <utility>

#include "util/error.h"
#include "util/file.h"

namespace mixflow {

static_assert(std::endian::native == std::endian::little, "numbers are copied as they are");

namespace {

using Json = nlohmann::json;

constexpr std::size_t kPrefix = 8;
constexpr std::size_t kAlignment = 8;
constexpr std::uint64_t kMaxHeader = 100'000'000;  // as the reference implementation
constexpr int kMaxDepth = 4;                       // file, tensor, list; one to spare

struct StoredInfo {
  StoredType type;
  std::string_view name;
  std::int64_t bytes;
};
constexpr std::array kStored = {
    StoredInfo{StoredType::f32, "F32", 4},
    StoredInfo{StoredType::f64, "F64", 8},
    StoredInfo{StoredType::i32, "I32", 4},
    StoredInfo{StoredType::i64, "I64", 8},
};
const StoredInfo& info(StoredType type) { return kStored[static_cast<std::size_t>(type)]; }

// The header as JSON. A name that occurs twice would silently win over the first one: refused while
// parsing.
Json parse_header(std::string_view text, const std::string& file) {
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kMaxDepth) throw UserError(file + ": the header is nested too deeply");
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key &&
        !keys.back().insert(parsed.get_ref<const std::string&>()).second) {
      throw UserError(file + ": \"" + parsed.get<std::string>() + "\" occurs twice in the header");
    }
    return true;
  };
  try {
    Json header = Json::parse(text, watch);
    if (!header.is_object()) throw UserError(file + ": the header is not a JSON object");
    return header;
  } catch (const Json::exception& error) {
    const auto* syntax = dynamic_cast<const Json::parse_error*>(&error);
    throw UserError(file + ": the header is not JSON" +
                    (syntax ? " (byte " + std::to_string(syntax->byte) + ")" : std::string()));
  }
}

// A list of non-negative integers.
std::vector<std::int64_t> integers(const Json& tensor, const char* key, const std::string& where) {
  const auto found = tensor.find(key);
  std::vector<std::int64_t> result;
  bool good = found != tensor.end() && found->is_array();
  for (std::size_t i = 0; good && i < found->size(); ++i) {
    const Json& value = (*found)[i];
    good = value.is_number_unsigned() &&
           value.get<std::uint64_t>() <= static_cast<std::uint64_t>(INT64_MAX);
    if (good) result.push_back(value.get<std::int64_t>());
  }
  if (!good) throw UserError(where + key + ": expected a list of whole numbers >= 0");
  return result;
}

StoredType read_type(const Json& tensor, const std::string& where) {
  const auto found = tensor.find("dtype");
  if (found == tensor.end() || !found->is_string()) {
    throw UserError(where + "dtype: expected a text such as \"F32\"");
  }
  const auto& name = found->get_ref<const std::string&>();
  for (const StoredInfo& stored : kStored) {
    if (stored.name == name) return stored.type;
  }
  throw UserError(where + "dtype " + name + " is not supported, expected F32, F64, I32 or I64");
}

struct Extent {
  std::uint64_t begin = 0, end = 0;
  NamedTensor tensor;
};

Extent read_tensor(const std::string& name, const Json& tensor, std::span<const std::byte> data,
                   const std::string& where) {
  if (!tensor.is_object()) throw UserError(where + "expected {dtype, shape, data_offsets}");
  NamedTensor result{.name = name, .type = read_type(tensor, where), .shape = {}, .data = {}};
  result.shape = integers(tensor, "shape", where);
  const std::vector<std::int64_t> offsets = integers(tensor, "data_offsets", where);
  if (offsets.size() != 2 || offsets[0] > offsets[1]) {
    throw UserError(where + "data_offsets: expected [begin, end] with begin <= end");
  }
  std::int64_t bytes = stored_bytes(result.type), limit = bytes;
  for (std::int64_t size : result.shape) {
    if (__builtin_mul_overflow(limit, std::max<std::int64_t>(size, 1), &limit)) {
      throw UserError(where + "impossible shape " + to_string(result.shape));
    }
    bytes *= size;
  }
  if (offsets[1] - offsets[0] != bytes) {
    throw UserError(where + std::to_string(offsets[1] - offsets[0]) + " bytes of data, expected " +
                    std::to_string(bytes) + " for " + std::string(stored_name(result.type)) +
                    to_string(result.shape));
  }
  const auto begin = static_cast<std::uint64_t>(offsets[0]);
  const auto end = static_cast<std::uint64_t>(offsets[1]);
  if (end > data.size()) {
    throw UserError(where + "its data ends at byte " + std::to_string(end) +
                    " of the data, but the file holds " + std::to_string(data.size()) +
                    "; it may be truncated");
  }
  result.data.assign(data.begin() + offsets[0], data.begin() + offsets[1]);
  return {begin, end, std::move(result)};
}

// Every byte of the data belongs to exactly one tensor: else two tensors share memory, or bytes are
// hidden. `extents` is sorted by position.
void check_coverage(const std::vector<Extent>& extents, std::size_t data_size,
                    const std::string& file) {
  std::uint64_t covered = 0;
  const std::string* last = nullptr;
  for (const auto& [begin, end, tensor] : extents) {
    if (begin < covered) {
      throw UserError(file + ": \"" + tensor.name + "\" overlaps \"" + *last + "\"");
    }
    if (begin > covered) {
      throw UserError(file + ": no tensor owns bytes " + std::to_string(covered) + " to " +
                      std::to_string(begin) + " of the data");
    }
    covered = end;
    last = &tensor.name;
  }
  if (covered != data_size) {
    throw UserError(file + ": " + std::to_string(data_size - covered) +
                    " bytes after the last tensor belong to none");
  }
}

template <class From, class To>
void convert(std::span<const std::byte> from, std::span<std::byte> to) {
  for (std::size_t i = 0; i < to.size() / sizeof(To); ++i) {
    From value;
    std::memcpy(&value, from.data() + i * sizeof(From), sizeof(From));
    const To result = static_cast<To>(value);
    std::memcpy(to.data() + i * sizeof(To), &result, sizeof(To));
  }
}

template <class To>
void convert_to(StoredType type, std::span<const std::byte> from, std::span<std::byte> to) {
  switch (type) {
    case StoredType::f32:
      return convert<float, To>(from, to);
    case StoredType::f64:
      return convert<double, To>(from, to);
    case StoredType::i32:
      return convert<std::int32_t, To>(from, to);
    case StoredType::i64:
      return convert<std::int64_t, To>(from, to);
  }
}

// An index or label that does not fit 32 bits must not wrap around.
void convert_to_i32(const NamedTensor& tensor, std::span<std::byte> to, const std::string& where) {
  if (tensor.type == StoredType::i32) {
    std::copy(tensor.data.begin(), tensor.data.end(), to.begin());
    return;
  }
  for (std::size_t i = 0; i < tensor.data.size() / sizeof(std::int64_t); ++i) {
    std::int64_t value;
    std::memcpy(&value, tensor.data.data() + i * sizeof(value), sizeof(value));
    if (value < INT32_MIN || value > INT32_MAX) {
      throw UserError(where + std::to_string(value) + " does not fit 32 bits");
    }
    const auto narrow = static_cast<std::int32_t>(value);
    std::memcpy(to.data() + i * sizeof(narrow), &narrow, sizeof(narrow));
  }
}

}  // namespace

std::int64_t stored_bytes(StoredType type) { return info(type).bytes; }
std::string_view stored_name(StoredType type) { return info(type).name; }

StoredType stored_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return StoredType::f32;
    case DType::f64:
      return StoredType::f64;
    case DType::i32:
      break;
  }
  return StoredType::i32;
}

const NamedTensor* TensorFile::find(std::string_view name) const {
  const auto found = std::find_if(tensors.begin(), tensors.end(),
                                  [&](const NamedTensor& tensor) { return tensor.name == name; });
  return found == tensors.end() ? nullptr : &*found;
}

void copy_tensor(const NamedTensor& tensor, DType dtype, std::span<std::byte> out,
                 const std::string& file) {
  MIXFLOW_CHECK(
      static_cast<std::int64_t>(out.size()) == num_elements(tensor.shape) * dtype_bytes(dtype),
      tensor.name + ": the destination has another size");
  const std::string where = file + ": " + tensor.name + ": ";
  if (dtype == DType::f32) return convert_to<float>(tensor.type, tensor.data, out);
  if (dtype == DType::f64) return convert_to<double>(tensor.type, tensor.data, out);
  if (tensor.type == StoredType::f32 || tensor.type == StoredType::f64) {
    throw UserError(where + "holds " + std::string(stored_name(tensor.type)) +
                    ", expected whole numbers (I32 or I64)");
  }
  convert_to_i32(tensor, out, where);
}

TensorFile parse_safetensors(std::span<const std::byte> file, const std::string& name) {
  std::uint64_t header_size = 0;
  if (file.size() < kPrefix) {
    throw UserError(name + ": not a safetensors file (" + std::to_string(file.size()) + " bytes)");
  }
  std::memcpy(&header_size, file.data(), kPrefix);
  if (header_size > kMaxHeader || header_size > file.size() - kPrefix) {
    throw UserError(name + ": not a safetensors file, or truncated: a header of " +
                    std::to_string(header_size) + " bytes in a file of " +
                    std::to_string(file.size()));
  }
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + kPrefix, header_size);
  const std::span<const std::byte> data = file.subspan(kPrefix + header_size);

  TensorFile result;
  std::vector<Extent> extents;
  const Json header = parse_header(text, name);
  for (const auto& [key, value] : header.items()) {
    const std::string where = name + ": " + key + ": ";
    if (key == "__metadata__") {
      if (!value.is_object()) throw UserError(where + "expected an object of texts");
      for (const auto& [field, content] : value.items()) {
        if (!content.is_string()) throw UserError(where + field + ": expected a text");
        result.metadata[field] = content.get<std::string>();
      }
      continue;
    }
    extents.push_back(read_tensor(key, value, data, where));
  }
  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) {
    return std::tie(a.begin, a.end, a.tensor.name) < std::tie(b.begin, b.end, b.tensor.name);
  });
  check_coverage(extents, data.size(), name);
  for (Extent& extent : extents) result.tensors.push_back(std::move(extent.tensor));
  return result;
}

TensorFile read_safetensors(const std::filesystem::path& path) {
  return parse_safetensors(read_file(path), path.string());
}

namespace {

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
  std::string text = header.dump(-1, ' ', false, Json::error_handler_t::replace);
  text.append((kAlignment - text.size() % kAlignment) % kAlignment, ' ');
  const std::uint64_t header_size = text.size();

  Pieces pieces{std::string(kPrefix, '\0') + text, {}};
  std::memcpy(pieces.header.data(), &header_size, kPrefix);
  for (std::size_t i : order) pieces.parts.push_back(tensors[i].data);
  return pieces;
}

}  // namespace

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
