#include "data/token_stream.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>

#include "config/load.h"
#include "util/error.h"

namespace mixflow {

namespace {

namespace fs = std::filesystem;

// How many of a file's tokens each split gets, in the order of Split.
std::array<std::int64_t, 3> shares(std::int64_t tokens, const TokensData& data) {
  const auto part = [&](double share) {
    return static_cast<std::int64_t>(share * static_cast<double>(tokens));
  };
  const std::int64_t validation = part(data.validation), test = part(data.test);
  return {tokens - validation - test, validation, test};
}

std::string list_of(const std::vector<std::string>& paths) {
  const std::size_t more = paths.size() - 1;
  return paths[0] + (more == 0 ? "" : " and " + std::to_string(more) + " more");
}

constexpr std::array<const char*, 3> kSplitNames = {"training", "validation", "test"};
constexpr std::array kSplits = {Split::train, Split::validation, Split::test};

}  // namespace

TokenStream::TokenStream(const TokensData& data, const Config& config, std::int64_t vocab) {
  std::vector<std::string_view> extensions;
  if (config.data.kind == "tokens") extensions = {".npy", ".bin"};
  // Held-out files first: a directory or pattern of training files may hold them too.
  std::vector<std::string> held_out, training;
  const FileSearch validation{"data.validation_path", data.validation_path, extensions, nullptr,
                              ""};
  std::vector<TokenFile> files = open(validation, config, vocab, held_out);
  for (TokenFile& file : files) add(Split::validation, file, 0, file.count());
  std::ranges::move(files, std::back_inserter(files_));
  const std::vector<std::string> of_validation = held_out;
  const FileSearch test{"data.test_path", data.test_path, extensions, &of_validation,
                        "data.validation_path"};
  files = open(test, config, vocab, held_out);
  for (TokenFile& file : files) add(Split::test, file, 0, file.count());
  std::ranges::move(files, std::back_inserter(files_));

  const FileSearch train{"data.path", data.path, extensions, &held_out,
                         "data.validation_path or data.test_path"};
  files = open(train, config, vocab, training);
  for (TokenFile& file : files) {
    std::int64_t first = 0;
    const auto counts = shares(file.count(), data);
    for (std::size_t split = 0; split < kSplits.size(); first += counts[split++]) {
      add(kSplits[split], file, first, counts[split]);
    }
  }
  std::ranges::move(files, std::back_inserter(files_));
  if (data.test == 0 && data.test_path.empty()) segments_[2] = segments_[1];
  check_lengths(data, config);
  finish_facts(data);
}

std::int64_t TokenStream::size(Split split) const {
  return segments(split).empty() ? 0 : segments(split).back().end;
}

void TokenStream::read(Split split, std::int64_t first, std::int64_t count,
                       std::int32_t* to) const {
  const Segments& all = segments(split);
  auto at = std::ranges::upper_bound(all, first, {}, &Segment::end);
  std::int64_t begin = at == all.begin() ? 0 : std::prev(at)->end;
  while (count > 0) {
    const std::int64_t here = std::min(count, at->end - first);
    at->type->read(at->ids + static_cast<std::size_t>(first - begin) * at->type->bytes, here, to);
    to += here;
    first += here;
    count -= here;
    begin = at++->end;
  }
}

std::vector<TokenFile> TokenStream::open(const FileSearch& search, const Config& config,
                                         std::int64_t vocab, std::vector<std::string>& paths) {
  const bool text = config.data.kind == "text";
  const FoundFiles found = find_files(search, config);
  const auto& dtype = std::get<TokensData>(config.data.source).dtype;
  const bool dtype_written = config.origins.contains("data.dtype");
  std::vector<TokenFile> files;
  for (const std::string& path : found.paths) {
    TokenFile file = text
                         ? open_text(path)
                         : open_ids(path, dtype, dtype_written ? origin(config, "data.dtype") : "");
    if (!text) {
      const IdType::Seen seen = check_ids(file, vocab);
      if (facts_.ranges.empty()) {
        facts_.ranges.push_back(
            {"tokens", static_cast<double>(seen.smallest), static_cast<double>(seen.largest)});
      }
      DataFacts::Values& range = facts_.ranges[0];
      range.smallest = std::min(range.smallest, static_cast<double>(seen.smallest));
      range.largest = std::max(range.largest, static_cast<double>(seen.largest));
    }
    facts_.files.push_back({path,
                            std::to_string(file.count()) + (text ? " bytes" : " ids, ") +
                                (text ? "" : file.description),
                            static_cast<std::int64_t>(file.ids.size())});
    files.push_back(std::move(file));
    paths.push_back(path);
  }
  note_left_out(search, found.left_out);
  return files;
}

void TokenStream::add(Split split, const TokenFile& file, std::int64_t first, std::int64_t count) {
  if (count == 0) return;
  const std::byte* ids = file.ids.data() + static_cast<std::size_t>(first) * file.type->bytes;
  segments_[static_cast<std::size_t>(split)].push_back({file.type, ids, size(split) + count});
}

void TokenStream::check_lengths(const TokensData& data, const Config& config) const {
  for (std::size_t i = 0; i < kSplits.size(); ++i) {
    const std::int64_t tokens = size(kSplits[i]);
    if (tokens > data.sequence) continue;
    const std::vector<std::string>& own = i == 0   ? data.path
                                          : i == 1 ? data.validation_path
                                                   : data.test_path;
    const bool share = i > 0 && own.empty();
    const std::string key = share || i == 0 ? "data.path"
                            : i == 1        ? "data.validation_path"
                                            : "data.test_path";
    throw UserError(origin(config, key) + ": " + list_of(share ? data.path : own) + ": its " +
                    kSplitNames[i] + " share has " + std::to_string(tokens) +
                    " tokens, expected more than data.sequence " + std::to_string(data.sequence) +
                    "; give more data or shorten the sequence");
  }
}

void TokenStream::note_left_out(const FileSearch& search,
                                const std::vector<SkippedFiles>& left_out) {
  if (left_out.empty()) return;
  facts_.notes.push_back(search.key + ": left out " + to_string(left_out));
}

void TokenStream::finish_facts(const TokensData& data) {
  for (const Split split : kSplits) {
    facts_.splits.push_back({std::string(name_of(split)), size(split), "tokens"});
  }
  if (data.test == 0 && data.test_path.empty()) {
    facts_.notes.emplace_back("there is no test data: evaluation is on the validation data");
  }
  // Texts are read as they are, also where that may surprise.
  std::map<std::string, std::vector<std::string>> peculiar;
  for (const TokenFile& file : files_) {
    if (file.description != "bytes") continue;
    if (const std::string what = text_peculiarity(file); !what.empty()) {
      peculiar[what].push_back(file.path);
    }
  }
  for (const auto& [what, paths] : peculiar) {
    facts_.notes.push_back(list_of(paths) + ": has " + what +
                           "; its bytes are the tokens as they are");
  }
  // nanoGPT writes train.bin and val.bin.
  for (const TokenFile& file : files_) {
    const fs::path path(file.path);
    std::error_code error;
    const fs::path beside = path.parent_path() / "val.bin";
    if (path.filename() == "train.bin" && data.validation_path.empty() &&
        fs::exists(beside, error)) {
      facts_.notes.push_back(beside.string() + " is not read; data.validation_path: " +
                             beside.string() + " makes it the validation data");
    }
  }
}

}  // namespace mixflow
