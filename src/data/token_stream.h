// Token ids of files, cut into train, validation and test. The ids stay in the type that the file
// has them in, one file's bytes as they were read, so that a large array costs its own size once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "data/source.h"

namespace mixflow {

// A type of ids as files hold them, little-endian.
struct IdType {
  std::string_view name;   // uint16
  std::string_view descr;  // of a .npy: <u2
  std::size_t bytes;
  // `count` ids of this type, at any alignment, to int32.
  void (*read)(const std::byte* from, std::int64_t count, std::int32_t* to);
  // The place and value of the first id outside [0, vocab); place -1: there is none.
  struct Found {
    std::int64_t place, value;
  };
  Found (*find_outside)(const std::byte* ids, std::int64_t count, std::int64_t vocab);
};

class TokenStream {
 public:
  // text: the bytes of the file data.path, or of each file under that directory, in the order of
  // their names. tokens: the ids of a .npy of one axis, or of a .bin of data.dtype. Each file is
  // cut by its own length: its end is the test share, the validation share comes before it, both
  // rounded down; the parts of all files are joined. Without a test share, test is validation.
  // Throws UserError for files that cannot be read or are not of the kind, ids outside [0, vocab),
  // and splits shorter than data.sequence + 1.
  TokenStream(const TokensData& data, const Config& config, std::int64_t vocab);

  std::int64_t size(Split split) const { return range(split).count; }
  // Tokens `first` .. `first + count - 1` of a split; allocates nothing.
  void read(Split split, std::int64_t first, std::int64_t count, std::int32_t* to) const;

 private:
  struct Range {
    std::int64_t first = 0, count = 0;  // in ids from the beginning of bytes_
  };
  const Range& range(Split split) const { return ranges_[static_cast<std::size_t>(split)]; }
  std::string read_text(const TokensData& data, const Config& config);
  std::string read_ids(const TokensData& data, const Config& config, std::int64_t vocab);

  const IdType* type_ = nullptr;
  std::vector<std::byte> bytes_;
  std::size_t begin_ = 0;        // of the ids in bytes_: after a header
  std::array<Range, 3> ranges_;  // by Split
};

}  // namespace mixflow
