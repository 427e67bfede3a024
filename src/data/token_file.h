// One file of tokens: a text, whose bytes they are, or ids of some integer type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "util/shared_bytes.h"

namespace mixflow {

// A type of ids as files hold them.
struct IdType {
  std::string_view name;  // uint16
  bool swapped;           // big-endian
  std::size_t bytes;
  // `count` ids of this type, at any alignment, to int32.
  void (*read)(const std::byte* from, std::int64_t count, std::int32_t* to);
  // What `count` ids are like.
  struct Seen {
    std::int64_t smallest = 0, largest = 0;
    bool zero[4] = {true, true, true, true};  // whether all ids at places 4n + i are 0
    void join(const Seen& other);
  };
  Seen (*see)(const std::byte* ids, std::int64_t count);
};

struct TokenFile {
  std::string path;
  const IdType* type = nullptr;
  SharedBytes ids;          // after any header
  std::string description;  // uint16, after llm.c's header (version 1)
  bool names_type = false;  // it says itself of which type its ids are

  std::int64_t count() const { return static_cast<std::int64_t>(ids.size() / type->bytes); }
};

// The bytes of a file.
TokenFile open_text(const std::string& path);

// The ids of a .npy of one axis and any integer type, or of a .bin: of the type in llm.c's header,
// where there is one, or of `dtype`. Reads headers alone. `dtype_where` is where data.dtype was
// written, empty if it was not. Throws UserError for files that are not of the kind.
TokenFile open_ids(const std::string& path, const std::string& dtype,
                   const std::string& dtype_where);

// Looks at all ids, once: the smallest and largest. Throws UserError for the first one outside
// [0, vocab), and for a .bin that looks like ids of another type, which it names if one fits.
IdType::Seen check_ids(const TokenFile& file, std::int64_t vocab);

// What a text is like at its beginning, "" for what needs no word: CRLF line ends, a byte-order
// mark, bytes that are no UTF-8, NUL bytes.
std::string text_peculiarity(const TokenFile& file);

}  // namespace mixflow
