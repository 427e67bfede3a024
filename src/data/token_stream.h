// Tokens of files, cut into train, validation and test. The files are mapped: what is not drawn
// costs no memory, and what is drawn costs its own size once.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "config/config.h"
#include "data/find_files.h"
#include "data/source.h"
#include "data/token_file.h"

namespace mixflow {

class TokenStream {
 public:
  // text: the bytes of the files that data.path stands for (find_files.h). tokens: the ids of its
  // .npy and .bin files. Each file is cut by its own length: its end is the test share, the
  // validation share comes before it, both rounded down; the parts of all files are joined in the
  // order of the files. Files of data.validation_path and data.test_path are wholly of their split.
  // Without test data, test is validation. Throws UserError for files that cannot be read or are
  // not of the kind, ids outside [0, vocab), and splits shorter than data.sequence + 1.
  TokenStream(const TokensData& data, const Config& config, std::int64_t vocab);

  std::int64_t size(Split split) const;
  // Tokens `first` .. `first + count - 1` of a split; allocates nothing.
  void read(Split split, std::int64_t first, std::int64_t count, std::int32_t* to) const;

  DataFacts facts() const { return facts_; }

 private:
  struct Segment {
    const IdType* type;
    const std::byte* ids;
    std::int64_t end;  // in tokens of its split
  };
  using Segments = std::vector<Segment>;

  const Segments& segments(Split split) const { return segments_[static_cast<std::size_t>(split)]; }
  // Opens the files of one key and looks at their ids.
  std::vector<TokenFile> open(const FileSearch& search, const Config& config, std::int64_t vocab,
                              std::vector<std::string>& paths);
  void add(Split split, const TokenFile& file, std::int64_t first, std::int64_t count);
  void check_lengths(const TokensData& data, const Config& config) const;
  void note_left_out(const FileSearch& search, const std::vector<SkippedFiles>& left_out);
  void finish_facts(const TokensData& data);

  std::vector<TokenFile> files_;
  std::array<Segments, 3> segments_;  // by Split
  DataFacts facts_;
};

}  // namespace mixflow
