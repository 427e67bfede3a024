#include "data/safetensors_header.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>
#include <utility>

#include "util/error.h"
#include "util/text.h"

namespace mixflow {
namespace {

constexpr std::size_t kMaxAxes = 32;
constexpr std::size_t kMaxMetadata = 10'000;  // entries
constexpr int kMaxDepth = 4;                  // file, tensor, list; one to spare

struct StoredInfo {
  StoredType type;
  std::string_view name;
  std::int64_t bytes;
};
constexpr std::array kStored = {
    StoredInfo{StoredType::f32, "F32", 4},      StoredInfo{StoredType::f64, "F64", 8},
    StoredInfo{StoredType::i32, "I32", 4},      StoredInfo{StoredType::i64, "I64", 8},
    StoredInfo{StoredType::f16, "F16", 2},      StoredInfo{StoredType::bf16, "BF16", 2},
    StoredInfo{StoredType::i8, "I8", 1},        StoredInfo{StoredType::u8, "U8", 1},
    StoredInfo{StoredType::i16, "I16", 2},      StoredInfo{StoredType::u16, "U16", 2},
    StoredInfo{StoredType::u32, "U32", 4},      StoredInfo{StoredType::u64, "U64", 8},
    StoredInfo{StoredType::boolean, "BOOL", 1}, StoredInfo{StoredType::other, "another type", 0},
};
const StoredInfo& info(StoredType type) { return kStored[static_cast<std::size_t>(type)]; }

StoredType type_named(std::string_view name) {
  const auto* found = std::ranges::find(kStored, name, &StoredInfo::name);
  return found == kStored.end() ? StoredType::other : found->type;
}

// Follows the parser through {name: {dtype, shape, data_offsets}, __metadata__: {key: text}}. A
// tree of the header would take hundreds of bytes for each of a hostile one's.
class HeaderReader : public nlohmann::json::json_sax_t {
 public:
  HeaderReader(SafetensorsHeader& header, const std::string& file) : header_(header), file_(file) {}

  bool key(string_t& name) override {
    if (depth_ == 1) {
      begin_entry(name);
    } else if (depth_ == 2) {
      field_ = name;
    }
    return true;
  }
  bool start_object(std::size_t) override {
    if (depth_ > 1) return open(false);
    ++depth_;
    return true;
  }
  bool start_array(std::size_t) override {
    const bool is_list = depth_ == 2 && !in_metadata_ && (field_ == "shape" || is_offsets());
    if (is_list) begin_list();
    return open(is_list);
  }
  bool end_object() override {
    if (--depth_ == 1 && !in_metadata_) check_complete();
    return true;
  }
  bool end_array() override {
    --depth_;
    list_ = nullptr;
    return true;
  }
  bool string(string_t& text) override {
    if (depth_ == 2 && in_metadata_) {
      add_metadata(text);
    } else if (depth_ == 2 && field_ == "dtype") {
      if (!tensor().type_name.empty()) twice("dtype");
      tensor().type_name = text;
      tensor().type = type_named(text);
    } else {
      value();
    }
    return true;
  }
  bool number_unsigned(number_unsigned_t number) override {
    if (depth_ != 3 || list_ == nullptr) return value();
    if (number > static_cast<std::uint64_t>(INT64_MAX)) bad_list();
    if (list_->size() == kMaxAxes) {
      fail(field_ + ": more than " + std::to_string(kMaxAxes) + " numbers");
    }
    list_->push_back(static_cast<std::int64_t>(number));
    return true;
  }
  bool number_integer(number_integer_t) override { return value(); }
  bool number_float(number_float_t, const string_t&) override { return value(); }
  bool boolean(bool) override { return value(); }
  bool null() override { return value(); }
  bool binary(binary_t&) override { return value(); }
  bool parse_error(std::size_t, const std::string&,
                   const nlohmann::json::exception& error) override {
    const auto* syntax = dynamic_cast<const nlohmann::json::parse_error*>(&error);
    throw UserError(file_ + ": the header is not JSON" +
                    (syntax ? " (byte " + std::to_string(syntax->byte) + ")" : std::string()));
  }

 private:
  StoredTensor& tensor() { return header_.tensors.back(); }
  bool is_offsets() const { return field_ == "data_offsets"; }

  [[noreturn]] void fail(const std::string& message) const {
    throw UserError(file_ + ": " + (in_metadata_ ? "__metadata__" : header_.tensors.back().name) +
                    ": " + message);
  }
  [[noreturn]] void bad_list() const { fail(field_ + ": expected a list of whole numbers >= 0"); }
  [[noreturn]] void twice(const std::string& name) const {
    throw UserError(file_ + ": " + in_quotes(name) + " occurs twice in the header");
  }

  void begin_entry(const std::string& name) {
    in_metadata_ = name == "__metadata__";
    offsets_.clear();
    seen_shape_ = seen_offsets_ = false;
    if (!in_metadata_) {
      header_.tensors.push_back({.name = name, .type_name = ""});
    } else if (std::exchange(seen_metadata_, true)) {
      twice(name);
    }
  }

  void add_metadata(const std::string& text) {
    if (header_.metadata.size() == kMaxMetadata) {
      fail("more than " + std::to_string(kMaxMetadata) + " texts");
    }
    if (!header_.metadata.emplace(field_, text).second) twice(field_);
  }

  void begin_list() {
    bool& seen = is_offsets() ? seen_offsets_ : seen_shape_;
    if (std::exchange(seen, true)) twice(field_);
    list_ = is_offsets() ? &offsets_ : &tensor().shape;
  }

  // Something that is neither in a list of ours nor one of the three fields may be anything.
  bool open(bool is_list) {
    if (!is_list) value();
    if (++depth_ > kMaxDepth) fail("the header is nested too deeply");
    return true;
  }

  // A value that has no place where it stands, unless the field is not ours.
  bool value() {
    if (depth_ == 0) throw UserError(file_ + ": the header is not a JSON object");
    if (depth_ == 1) {
      fail(in_metadata_ ? "expected an object of texts" : "expected {dtype, shape, data_offsets}");
    }
    if (in_metadata_) fail(field_ + ": expected a text");
    if (depth_ == 2 && field_ == "dtype") fail("dtype: expected a text such as \"F32\"");
    if (list_ != nullptr || (depth_ == 2 && (field_ == "shape" || is_offsets()))) bad_list();
    return true;
  }

  void check_complete() {
    if (tensor().type_name.empty()) fail("dtype: expected a text such as \"F32\"");
    for (const auto& [seen, name] :
         {std::pair(seen_shape_, "shape"), {seen_offsets_, "data_offsets"}}) {
      field_ = name;
      if (!seen) bad_list();
    }
    if (offsets_.size() != 2 || offsets_[0] > offsets_[1]) {
      fail("data_offsets: expected [begin, end] with begin <= end");
    }
    tensor().begin = static_cast<std::uint64_t>(offsets_[0]);
    tensor().end = static_cast<std::uint64_t>(offsets_[1]);
  }

  SafetensorsHeader& header_;
  const std::string& file_;
  int depth_ = 0;
  bool in_metadata_ = false, seen_metadata_ = false, seen_shape_ = false, seen_offsets_ = false;
  std::string field_;
  std::vector<std::int64_t> offsets_;
  std::vector<std::int64_t>* list_ = nullptr;  // that numbers go to
};

void check_extent(const StoredTensor& tensor, std::uint64_t data_bytes, const std::string& file) {
  const std::string where = file + ": " + tensor.name + ": ";
  std::int64_t bytes = stored_bytes(tensor.type), limit = std::max<std::int64_t>(bytes, 1);
  for (const std::int64_t size : tensor.shape) {
    if (__builtin_mul_overflow(limit, std::max<std::int64_t>(size, 1), &limit)) {
      throw UserError(where + "impossible shape " + to_string(tensor.shape));
    }
    bytes *= size;
  }
  const std::uint64_t held = tensor.end - tensor.begin;
  if (tensor.type != StoredType::other && held != static_cast<std::uint64_t>(bytes)) {
    throw UserError(where + std::to_string(held) + " bytes of data, expected " +
                    std::to_string(bytes) + " for " + tensor.type_name + to_string(tensor.shape));
  }
  if (tensor.end > data_bytes) {
    throw UserError(where + "its data ends at byte " + std::to_string(tensor.end) +
                    " of the data, but the file holds " + std::to_string(data_bytes) +
                    "; it may be truncated");
  }
}

// Every byte of the data belongs to exactly one tensor: else two tensors share memory, or bytes are
// hidden. `tensors` is sorted by position.
void check_coverage(const std::vector<StoredTensor>& tensors, std::uint64_t data_bytes,
                    const std::string& file) {
  std::uint64_t covered = 0;
  const std::string* last = nullptr;
  for (const StoredTensor& tensor : tensors) {
    if (tensor.begin < covered) {
      throw UserError(file + ": \"" + tensor.name + "\" overlaps \"" + *last + "\"");
    }
    if (tensor.begin > covered) {
      throw UserError(file + ": no tensor owns bytes " + std::to_string(covered) + " to " +
                      std::to_string(tensor.begin) + " of the data");
    }
    covered = tensor.end;
    last = &tensor.name;
  }
  if (covered != data_bytes) {
    throw UserError(file + ": " + std::to_string(data_bytes - covered) +
                    " bytes after the last tensor belong to none");
  }
}

void check_names(const std::vector<StoredTensor>& tensors, const std::string& file) {
  std::vector<std::string_view> names;
  names.reserve(tensors.size());
  for (const StoredTensor& tensor : tensors) names.emplace_back(tensor.name);
  std::ranges::sort(names);
  const auto twice = std::ranges::adjacent_find(names);
  if (twice == names.end()) return;
  throw UserError(file + ": " + in_quotes(*twice) + " occurs twice in the header");
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

bool holds_whole_numbers(StoredType type) {
  switch (type) {
    case StoredType::f32:
    case StoredType::f64:
    case StoredType::f16:
    case StoredType::bf16:
    case StoredType::other:
      return false;
    default:
      return true;
  }
}

SafetensorsHeader parse_safetensors_header(std::string_view text, std::uint64_t data_bytes,
                                           const std::string& file) {
  SafetensorsHeader header;
  HeaderReader reader(header, file);
  nlohmann::json::sax_parse(text, &reader);
  check_names(header.tensors, file);
  for (const StoredTensor& tensor : header.tensors) check_extent(tensor, data_bytes, file);
  std::ranges::sort(header.tensors, [](const StoredTensor& a, const StoredTensor& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  check_coverage(header.tensors, data_bytes, file);
  return header;
}

}  // namespace mixflow
