#include "data/token_stream.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <filesystem>
#include <span>

#include "config/load.h"
#include "data/locate.h"
#include "data/npy.h"
#include "util/error.h"
#include "util/file.h"

namespace mixflow {

static_assert(std::endian::native == std::endian::little, "ids are copied as they are");

namespace {

namespace fs = std::filesystem;

template <class T>
T id_at(const std::byte* ids, std::int64_t i) {
  T id;
  std::memcpy(&id, ids + static_cast<std::size_t>(i) * sizeof(T), sizeof(T));
  return id;
}

template <class T>
void read_ids_of(const std::byte* from, std::int64_t count, std::int32_t* to) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = static_cast<std::int32_t>(id_at<T>(from, i));
}

template <class T>
IdType::Found find_outside_of(const std::byte* ids, std::int64_t count, std::int64_t vocab) {
  for (std::int64_t i = 0; i < count; ++i) {
    const auto id = static_cast<std::int64_t>(id_at<T>(ids, i));
    if (id < 0 || id >= vocab) return {i, id};
  }
  return {-1, 0};
}

template <class T>
constexpr IdType id_type(std::string_view name, std::string_view descr) {
  return {name, descr, sizeof(T), read_ids_of<T>, find_outside_of<T>};
}

constexpr std::array kIdTypes = {
    id_type<std::uint8_t>("uint8", "|u1"), id_type<std::uint16_t>("uint16", "<u2"),
    id_type<std::int32_t>("int32", "<i4"), id_type<std::uint32_t>("uint32", "<u4"),
    id_type<std::int64_t>("int64", "<i8"),
};

const IdType& type_named(std::string_view name) {
  const auto found = std::ranges::find(kIdTypes, name, &IdType::name);
  MIXFLOW_CHECK(found != kIdTypes.end(), "the loader lets only known types of ids pass");
  return *found;
}

// The type of the ids in a .npy, which has one axis and as many of them as it says.
const IdType& type_in_npy(const NpyParts& parts, const std::string& name) {
  const auto type = std::ranges::find(kIdTypes, parts.descr, &IdType::descr);
  if (type == kIdTypes.end()) {
    throw UserError(name + ": dtype '" + parts.descr +
                    "' is no type of token ids, expected little-endian uint8, uint16, int32, "
                    "uint32 or int64; save it again with .astype(\"int32\")");
  }
  const std::string type_name(type->name);
  check_npy_size(parts, type->bytes, type_name, name);
  if (parts.shape.size() != 1) {
    throw UserError(name + ": found " + type_name + to_string(parts.shape) +
                    ", expected token ids along one axis; save it again with .reshape(-1)");
  }
  return *type;
}

void check_whole(std::size_t bytes, const std::string& dtype, const std::string& name) {
  if (bytes % type_named(dtype).bytes == 0) return;
  throw UserError(name + ": " + std::to_string(bytes) +
                  " bytes are no whole number of ids of data.dtype " + dtype +
                  "; the file is truncated or of another type");
}

void check_ids(const IdType& type, const std::byte* ids, std::int64_t count, std::int64_t vocab,
               const std::string& name) {
  const auto [place, value] = type.find_outside(ids, count, vocab);
  if (place < 0) return;
  throw UserError(name + ": token " + std::to_string(place) + " (from 0) has id " +
                  std::to_string(value) + ", expected 0 .. " + std::to_string(vocab - 1) +
                  (value < 0 ? "; the file is damaged or no file of ids"
                             : "; raise model.vocab or tokenise again"));
}

// The regular files of a directory and its subdirectories by name, or the file itself.
std::vector<fs::path> files_at(const std::string& where, const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return {path};
  std::vector<fs::path> files;
  fs::recursive_directory_iterator it(path, error), end;
  for (; !error && it != end; it.increment(error)) {
    // Links to files that are listed themselves would count twice.
    if (it->is_regular_file(error) && !it->is_symlink(error)) files.push_back(it->path());
  }
  if (error) throw UserError(where + ": " + path + ": cannot be listed: " + error.message());
  std::ranges::sort(files);
  if (files.empty()) throw UserError(where + ": " + path + ": a directory without files");
  return files;
}

// How many of a file's tokens each split gets, in the order of Split.
std::array<std::int64_t, 3> shares(std::int64_t tokens, const TokensData& data) {
  const auto part = [&](double share) {
    return static_cast<std::int64_t>(share * static_cast<double>(tokens));
  };
  const std::int64_t validation = part(data.validation), test = part(data.test);
  return {tokens - validation - test, validation, test};
}

}  // namespace

TokenStream::TokenStream(const TokensData& data, const Config& config, std::int64_t vocab) {
  const std::string path =
      config.data.kind == "text" ? read_text(data, config) : read_ids(data, config, vocab);
  if (data.test == 0) ranges_[2] = ranges_[1];
  for (const auto& [split, name] :
       {std::pair(Split::train, "training"), std::pair(Split::validation, "validation"),
        std::pair(Split::test, "test")}) {
    if (size(split) > data.sequence) continue;
    throw UserError(origin(config, "data.path") + ": " + path + ": its " + name + " share has " +
                    std::to_string(size(split)) + " tokens, expected more than data.sequence " +
                    std::to_string(data.sequence) + "; give more data or shorten the sequence");
  }
}

void TokenStream::read(Split split, std::int64_t first, std::int64_t count,
                       std::int32_t* to) const {
  const auto at = static_cast<std::size_t>(range(split).first + first) * type_->bytes;
  type_->read(bytes_.data() + begin_ + at, count, to);
}

std::string TokenStream::read_text(const TokensData& data, const Config& config) {
  type_ = &type_named("uint8");
  const std::string path = existing(data.path, config, "data.path");
  std::array<std::vector<std::byte>, 3> parts;
  for (const fs::path& file : files_at(origin(config, "data.path"), path)) {
    const std::vector<std::byte> bytes = read_file(file);
    const auto counts = shares(static_cast<std::int64_t>(bytes.size()), data);
    auto from = bytes.begin();
    for (std::size_t split = 0; split < parts.size(); from += counts[split++]) {
      parts[split].insert(parts[split].end(), from, from + counts[split]);
    }
  }
  for (std::size_t split = 0; split < parts.size(); ++split) {
    ranges_[split] = {static_cast<std::int64_t>(bytes_.size()),
                      static_cast<std::int64_t>(parts[split].size())};
    bytes_.insert(bytes_.end(), parts[split].begin(), parts[split].end());
    parts[split] = {};
  }
  return path;
}

std::string TokenStream::read_ids(const TokensData& data, const Config& config,
                                  std::int64_t vocab) {
  const std::string path = existing(data.path, config, "data.path");
  const std::string extension = fs::path(path).extension().string();
  if (extension != ".npy" && extension != ".bin") {
    throw UserError(path + ": expected a .npy or .bin file of token ids" +
                    (extension.empty() ? "" : ", found " + extension) +
                    "; data.kind: text reads the bytes of any file");
  }
  bytes_ = read_file(path);
  if (extension == ".npy") {
    const NpyParts parts = split_npy(bytes_, path);
    type_ = &type_in_npy(parts, path);
    begin_ = bytes_.size() - parts.data.size();
  } else {
    type_ = &type_named(data.dtype);
    check_whole(bytes_.size(), data.dtype, path);
  }
  const auto tokens = static_cast<std::int64_t>((bytes_.size() - begin_) / type_->bytes);
  check_ids(*type_, bytes_.data() + begin_, tokens, vocab, path);
  const auto counts = shares(tokens, data);
  ranges_ = {Range{0, counts[0]}, Range{counts[0], counts[1]},
             Range{counts[0] + counts[1], counts[2]}};
  return path;
}

}  // namespace mixflow
