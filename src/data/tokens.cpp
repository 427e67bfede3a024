#include "data/tokens.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "config/load.h"
#include "data/split.h"
#include "util/error.h"
#include "util/file.h"
#include "util/rng.h"
#include "util/text.h"

namespace mixflow {
namespace {

// Ids of one split, as wide as the largest vocabularies need.
using Stream = std::vector<std::int32_t>;

struct Streams {
  Stream train, validation, test;
};

void append_split(const Stream& tokens, const TokensData& data, Streams& to) {
  const auto count = static_cast<double>(tokens.size());
  const auto part = [&](double share) { return static_cast<std::ptrdiff_t>(share * count); };
  const auto test = tokens.end() - part(data.test);
  const auto validation = test - part(data.validation);
  to.train.insert(to.train.end(), tokens.begin(), validation);
  to.validation.insert(to.validation.end(), validation, test);
  to.test.insert(to.test.end(), test, tokens.end());
}

// The regular files of a directory and its subdirectories by name, or the file itself.
std::vector<std::filesystem::path> files_at(const std::string& where, const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) return {path};
  std::vector<std::filesystem::path> files;
  std::filesystem::recursive_directory_iterator it(path, error), end;
  for (; !error && it != end; it.increment(error)) {
    // Links to files that are listed themselves would count twice.
    if (it->is_regular_file(error) && !it->is_symlink(error)) files.push_back(it->path());
  }
  if (error) throw UserError(where + ": " + path + ": cannot be listed: " + error.message());
  std::ranges::sort(files);
  if (files.empty()) throw UserError(where + ": " + path + ": a directory without files");
  return files;
}

Stream bytes_of(const std::filesystem::path& path) {
  const std::vector<std::byte> bytes = read_file(path);
  Stream tokens(bytes.size());
  std::ranges::transform(bytes, tokens.begin(), [](std::byte b) { return static_cast<int>(b); });
  return tokens;
}

class Tokens final : public TaskSource {
 public:
  Tokens(const TokensData& data, const Config& config)
      : data_(data),
        seed_(config.seed),
        vocab_(std::get<TransformerModel>(config.model).vocab),
        random_(config.data.kind == "random_tokens"),
        outer_batch_(data.outer_batch > 0 ? data.outer_batch : data.batch) {
    if (random_) return;
    const std::string where = origin(config, "data.path");
    for (const std::filesystem::path& file : files_at(where, data.path)) {
      append_split(bytes_of(file), data, streams_);
    }
    if (streams_.test.empty()) streams_.test = streams_.validation;
    for (const auto& [stream, name] :
         {std::pair(&streams_.train, "training"), std::pair(&streams_.validation, "validation"),
          std::pair(&streams_.test, "test")}) {
      if (static_cast<std::int64_t>(stream->size()) > data.sequence) continue;
      throw UserError(where + ": " + data.path + ": its " + name + " share has " +
                      std::to_string(stream->size()) +
                      " tokens, expected more than data.sequence " + std::to_string(data.sequence) +
                      "; give more text or shorten the sequence");
    }
  }

  std::vector<Field> fields() const override {
    return {{"tokens", DType::i32, {data_.sequence + 1}}};
  }
  std::int64_t inner_batch() const override { return data_.batch; }
  std::int64_t outer_batch(Split) const override { return outer_batch_; }
  bool same_batch_every_step() const override { return false; }
  std::int64_t output_width() const override { return vocab_; }

  void fill(Split split, std::uint64_t index, std::int64_t tasks, std::int64_t steps, Precision,
            std::span<std::byte* const> inner, std::span<std::byte* const> outer) const override {
    const bool train = split == Split::train;
    const Stream& held_out =
        train || split == Split::validation ? streams_.validation : streams_.test;
    const std::int64_t length = data_.sequence + 1;
    for (std::int64_t n = 0; n < tasks; ++n) {
      Rng rng(seed_, purpose_of(split), index, static_cast<std::uint32_t>(n));
      for (std::int64_t i = 0; i < steps * data_.batch; ++i) {
        const bool corrupt = data_.corrupt > 0 && rng.uniform() < data_.corrupt;
        draw(rng, streams_.train, corrupt, inner[0], (n * steps * data_.batch + i) * length);
      }
      for (std::int64_t i = 0; i < outer_batch_; ++i) {
        draw(rng, held_out, false, outer[0], (n * outer_batch_ + i) * length);
      }
    }
  }

 private:
  // One example of S + 1 tokens to `to`, `at` tokens further.
  void draw(Rng& rng, const Stream& stream, bool corrupt, std::byte* to, std::int64_t at) const {
    const std::int64_t length = data_.sequence + 1;
    auto* tokens = reinterpret_cast<std::int32_t*>(to) + at;
    if (random_ || corrupt) {
      for (std::int64_t i = 0; i < length; ++i) {
        tokens[i] = static_cast<std::int32_t>(rng.below(static_cast<std::uint64_t>(vocab_)));
      }
      return;
    }
    const std::uint64_t places = stream.size() - static_cast<std::uint64_t>(length) + 1;
    const std::uint64_t place = rng.below(places);
    std::memcpy(tokens, stream.data() + place,
                static_cast<std::size_t>(length) * sizeof(std::int32_t));
  }

  const TokensData data_;
  const std::uint64_t seed_;
  const std::int64_t vocab_;
  const bool random_;
  const std::int64_t outer_batch_;
  Streams streams_;
};

}  // namespace

std::unique_ptr<TaskSource> make_tokens(const TokensData& data, const Config& config) {
  return std::make_unique<Tokens>(data, config);
}

}  // namespace mixflow
