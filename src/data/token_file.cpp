#include "data/token_file.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cctype>
#include <cstring>
#include <filesystem>
#include <type_traits>

#include "data/element_type.h"
#include "data/npy.h"
#include "util/error.h"

namespace mixflow {

static_assert(std::endian::native == std::endian::little, "ids are copied as they are");

namespace {

namespace fs = std::filesystem;

// --- types ---------------------------------------------------------------------------

template <class T, bool swapped>
T id_at(const std::byte* ids, std::int64_t i) {
  T id;
  std::memcpy(&id, ids + static_cast<std::size_t>(i) * sizeof(T), sizeof(T));
  if constexpr (!swapped) return id;
  if constexpr (sizeof(T) == 2)
    return static_cast<T>(__builtin_bswap16(static_cast<std::uint16_t>(id)));
  if constexpr (sizeof(T) == 4)
    return static_cast<T>(__builtin_bswap32(static_cast<std::uint32_t>(id)));
  return static_cast<T>(__builtin_bswap64(static_cast<std::uint64_t>(id)));
}

template <class T, bool swapped>
void read_ids_of(const std::byte* from, std::int64_t count, std::int32_t* to) {
  for (std::int64_t i = 0; i < count; ++i) {
    to[i] = static_cast<std::int32_t>(id_at<T, swapped>(from, i));
  }
}

template <class T, bool swapped>
IdType::Seen see_ids(const std::byte* ids, std::int64_t count) {
  if (count == 0) return {};
  T smallest = id_at<T, swapped>(ids, 0), largest = smallest;
  std::array<T, 4> any{};
  std::int64_t i = 0;
  for (; i + 4 <= count; i += 4) {  // four at a time, so that the compiler finds vectors
    for (std::int64_t j = 0; j < 4; ++j) {
      const T id = id_at<T, swapped>(ids, i + j);
      smallest = std::min(smallest, id);
      largest = std::max(largest, id);
      auto& bits = any[static_cast<std::size_t>(j)];
      bits = static_cast<T>(bits | id);
    }
  }
  for (; i < count; ++i) {
    const T id = id_at<T, swapped>(ids, i);
    smallest = std::min(smallest, id);
    largest = std::max(largest, id);
    auto& bits = any[static_cast<std::size_t>(i % 4)];
    bits = static_cast<T>(bits | id);
  }
  // An unsigned id beyond int64 stays beyond any vocabulary.
  const auto wide = [](T id) {
    if constexpr (std::is_same_v<T, std::uint64_t>) {
      return static_cast<std::int64_t>(std::min(id, std::uint64_t{1} << 62));
    } else {
      return static_cast<std::int64_t>(id);
    }
  };
  IdType::Seen seen{wide(smallest), wide(largest), {}};
  for (std::size_t j = 0; j < 4; ++j) seen.zero[j] = any[j] == 0;
  return seen;
}

template <class T, bool swapped = false>
constexpr IdType id_type(std::string_view name) {
  return {name, swapped, sizeof(T), read_ids_of<T, swapped>, see_ids<T, swapped>};
}

constexpr std::array kIdTypes = {
    id_type<std::uint8_t>("uint8"),         id_type<std::uint16_t>("uint16"),
    id_type<std::uint32_t>("uint32"),       id_type<std::uint64_t>("uint64"),
    id_type<std::int8_t>("int8"),           id_type<std::int16_t>("int16"),
    id_type<std::int32_t>("int32"),         id_type<std::int64_t>("int64"),
    id_type<std::uint16_t, true>("uint16"), id_type<std::uint32_t, true>("uint32"),
    id_type<std::uint64_t, true>("uint64"), id_type<std::int16_t, true>("int16"),
    id_type<std::int32_t, true>("int32"),   id_type<std::int64_t, true>("int64"),
};

const IdType* find_type(std::string_view name, bool swapped = false) {
  const auto found = std::ranges::find_if(
      kIdTypes, [&](const IdType& type) { return type.name == name && type.swapped == swapped; });
  return found == kIdTypes.end() ? nullptr : &*found;
}

const IdType& id_type_named(std::string_view name) {
  const IdType* type = find_type(name);
  MIXFLOW_CHECK(type != nullptr, "the loader lets only known types of ids pass");
  return *type;
}

// The type of the ids in a .npy, which has one axis and as many of them as it says.
const IdType& type_in_npy(const NpyParts& parts, const std::string& name) {
  const ElementType* element = element_type_of(parts.descr);
  const IdType* type = nullptr;
  if (element != nullptr && element->kind == ElementType::Kind::integer) {
    const bool swapped = element->bytes > 1 && parts.descr.starts_with('>');
    type = find_type(element->name, swapped);
  }
  if (type == nullptr) {
    throw UserError(name + ": dtype '" + parts.descr +
                    "' is no type of token ids, expected integers of 8 to 64 bits; save it again "
                    "with .astype(\"int32\")");
  }
  const std::string type_name(type->name);
  check_npy_size(parts, type->bytes, type_name, name);
  if (parts.shape.size() != 1) {
    throw UserError(name + ": found " + type_name + to_string(parts.shape) +
                    ", expected token ids along one axis; save it again with .reshape(-1)");
  }
  return *type;
}

// --- llm.c's header ------------------------------------------------------------------
// 256 int32: magic, version, number of tokens, then zeros (Karpathy's llm.c,
// dev/data/data_common.py: GPT-2's ids are uint16, Llama 3's uint32).

constexpr std::size_t kLlmcHeaderBytes = 1024;

struct HeaderForm {
  std::int32_t magic, version;
  std::string_view dtype;
};
constexpr std::array kHeaderForms = {HeaderForm{20240520, 1, "uint16"},
                                     HeaderForm{20240801, 7, "uint32"}};

std::int32_t header_number(const SharedBytes& bytes, std::size_t place) {
  std::int32_t number;
  std::memcpy(&number, bytes.data() + 4 * place, 4);
  return number;
}

const HeaderForm* find_header(const SharedBytes& bytes, const std::string& name) {
  if (bytes.size() < kLlmcHeaderBytes) return nullptr;
  const std::int32_t magic = header_number(bytes, 0), version = header_number(bytes, 1);
  const auto form = std::ranges::find(kHeaderForms, magic, &HeaderForm::magic);
  if (form == kHeaderForms.end()) return nullptr;
  if (form->version != version) {
    throw UserError(name + ": llm.c's header (magic " + std::to_string(magic) + ") of version " +
                    std::to_string(version) + ", expected " + std::to_string(form->version) +
                    "; write the ids to a .npy");
  }
  return &*form;
}

TokenFile open_after_header(TokenFile file, const SharedBytes& bytes, const HeaderForm& form,
                            const std::string& dtype, const std::string& dtype_where) {
  file.type = &id_type_named(form.dtype);
  file.names_type = true;
  file.ids = bytes.part(bytes.span().subspan(kLlmcHeaderBytes));
  file.description = std::string(form.dtype) + " after llm.c's header (version " +
                     std::to_string(form.version) + ")";
  if (!dtype_where.empty() && dtype != form.dtype) {
    throw UserError(dtype_where + ": " + dtype + ", but " + file.path +
                    " has llm.c's header, by which its ids are " + std::string(form.dtype) +
                    "; remove data.dtype");
  }
  const auto said = static_cast<std::uint32_t>(header_number(bytes, 2));
  if (file.ids.size() != std::size_t{said} * file.type->bytes) {
    throw UserError(file.path + ": its header says " + std::to_string(said) + " ids of " +
                    std::string(form.dtype) + ", but " + std::to_string(file.ids.size()) +
                    " bytes follow; the file is truncated or damaged");
  }
  return file;
}

// --- guesses at another type ---------------------------------------------------------

constexpr std::size_t kIdPiece = std::size_t{1} << 20;  // bytes looked at before they are let go

IdType::Seen see_all(const IdType& type, const SharedBytes& ids, std::size_t most_bytes) {
  IdType::Seen all;
  const std::size_t end = std::min(ids.size(), most_bytes) / type.bytes * type.bytes;
  for (std::size_t at = 0; at < end; at += kIdPiece) {
    const std::size_t size = std::min(kIdPiece, end - at);
    const IdType::Seen seen =
        type.see(ids.data() + at, static_cast<std::int64_t>(size / type.bytes));
    at == 0 ? static_cast<void>(all = seen) : all.join(seen);
    ids.release(at, size);
  }
  return all;
}

// Every second id is 0, and the others are not: ids of twice the bytes, read by halves.
bool reads_halves(const IdType::Seen& seen, std::int64_t count) {
  constexpr std::int64_t kEnough = 8;
  return count >= kEnough && seen.zero[1] && seen.zero[3] && !(seen.zero[0] && seen.zero[2]);
}

// A type of which all ids at the beginning are in the vocabulary, or nullptr. Bytes are in any
// vocabulary of 256, so they are no guess for larger ones.
const IdType* fitting_type(const TokenFile& file, std::int64_t vocab) {
  constexpr std::size_t kGuessed = std::size_t{16} << 20;
  for (const std::string_view name : {"uint16", "uint32", "int64", "uint8"}) {
    const IdType& type = id_type_named(name);
    if (&type == file.type || file.ids.size() % type.bytes != 0) continue;
    if (type.bytes == 1 && vocab > 256) continue;
    const IdType::Seen seen = see_all(type, file.ids, kGuessed);
    const std::size_t bytes = std::min(file.ids.size(), kGuessed);
    const bool halves = reads_halves(seen, static_cast<std::int64_t>(bytes / type.bytes));
    if (seen.smallest >= 0 && seen.largest < vocab && !halves) return &type;
  }
  return nullptr;
}

std::string guess(const TokenFile& file, std::int64_t vocab, const std::string& otherwise) {
  const IdType* type = file.names_type ? nullptr : fitting_type(file, vocab);
  if (type == nullptr) return otherwise;
  return "; of type " + std::string(type->name) +
         " all of them would be in the vocabulary: set data.dtype: " + std::string(type->name);
}

[[noreturn]] void fail_outside(const TokenFile& file, std::int64_t vocab) {
  constexpr std::int64_t kAtOnce = 4096;
  for (std::int64_t first = 0;; first += kAtOnce) {
    for (std::int64_t i = first; i < std::min(first + kAtOnce, file.count()); ++i) {
      const IdType::Seen id =
          file.type->see(file.ids.data() + static_cast<std::size_t>(i) * file.type->bytes, 1);
      if (id.smallest >= 0 && id.largest < vocab) continue;
      throw UserError(file.path + ": token " + std::to_string(i) + " (from 0) has id " +
                      std::to_string(id.smallest) + ", expected 0 .. " + std::to_string(vocab - 1) +
                      guess(file, vocab,
                            id.smallest < 0 ? "; the file is damaged or no file of ids"
                                            : "; raise model.vocab or tokenise again"));
    }
  }
}

// --- text ----------------------------------------------------------------------------

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const std::size_t more = byte < 0x80                   ? 0
                             : byte >= 0xC2 && byte < 0xE0 ? 1
                             : byte >= 0xE0 && byte < 0xF0 ? 2
                             : byte >= 0xF0 && byte < 0xF5 ? 3
                                                           : 4;
    if (more == 4) return false;
    for (std::size_t k = 1; k <= more; ++k) {
      if (i + k == text.size()) return true;  // cut here by us
      if ((static_cast<unsigned char>(text[i + k]) & 0xC0U) != 0x80U) return false;
    }
    i += more + 1;
  }
  return true;
}

}  // namespace

void IdType::Seen::join(const Seen& other) {
  smallest = std::min(smallest, other.smallest);
  largest = std::max(largest, other.largest);
  for (std::size_t i = 0; i < 4; ++i) zero[i] = zero[i] && other.zero[i];
}

TokenFile open_text(const std::string& path) {
  return {path, &id_type_named("uint8"), SharedBytes::map(path), "bytes", true};
}

TokenFile open_ids(const std::string& path, const std::string& dtype,
                   const std::string& dtype_where) {
  std::string extension = fs::path(path).extension().string();
  std::ranges::transform(extension, extension.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (extension != ".npy" && extension != ".bin") {
    throw UserError(path + ": expected a .npy or .bin file of token ids" +
                    (extension.empty() ? "" : ", found " + extension) +
                    "; data.kind: text reads the bytes of any file");
  }
  const SharedBytes bytes = SharedBytes::map(path);
  TokenFile file{.path = path};
  if (extension == ".npy") {
    const NpyParts parts = split_npy(bytes.span(), path);
    file.type = &type_in_npy(parts, path);
    file.names_type = true;
    file.ids = bytes.part(parts.data);
    file.description = std::string(file.type->name) + (file.type->swapped ? ", big-endian" : "");
    return file;
  }
  if (const HeaderForm* form = find_header(bytes, path)) {
    return open_after_header(std::move(file), bytes, *form, dtype, dtype_where);
  }
  file.type = &id_type_named(dtype);
  file.ids = bytes;
  file.description = dtype;
  if (bytes.size() % file.type->bytes != 0) {
    throw UserError(path + ": " + std::to_string(bytes.size()) +
                    " bytes are no whole number of ids of data.dtype " + dtype +
                    "; the file is truncated or of another type");
  }
  return file;
}

IdType::Seen check_ids(const TokenFile& file, std::int64_t vocab) {
  const IdType::Seen seen = see_all(*file.type, file.ids, file.ids.size());
  if (file.count() > 0 && (seen.smallest < 0 || seen.largest >= vocab)) fail_outside(file, vocab);
  if (file.names_type || !reads_halves(seen, file.count())) return seen;
  if (const IdType* type = fitting_type(file, vocab)) {
    throw UserError(file.path + ": every second id is 0 if they are " +
                    std::string(file.type->name) +
                    "; they are ids of more bytes: set data.dtype: " + std::string(type->name));
  }
  return seen;
}

std::string text_peculiarity(const TokenFile& file) {
  constexpr std::size_t kSeen = std::size_t{1} << 16;
  const std::string_view text(reinterpret_cast<const char*>(file.ids.data()),
                              std::min(file.ids.size(), kSeen));
  std::string found;
  const auto add = [&](const char* what) {
    found += (found.empty() ? "" : ", ") + std::string(what);
  };
  if (text.starts_with("\xEF\xBB\xBF")) add("a byte-order mark");
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF")) {
    add("UTF-16");
  } else if (text.find('\0') != std::string_view::npos) {
    add("NUL bytes");
  } else if (!is_utf8(text)) {
    add("bytes that are not UTF-8");
  }
  if (text.find("\r\n") != std::string_view::npos) add("CRLF line ends");
  file.ids.release(0, text.size());
  return found;
}

}  // namespace mixflow
