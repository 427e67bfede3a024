#include "data/tokens.h"

#include <optional>

#include "data/split.h"
#include "data/token_stream.h"
#include "util/error.h"
#include "util/rng.h"

namespace mixflow {
namespace {

class Tokens final : public TaskSource {
 public:
  Tokens(const TokensData& data, const Config& config)
      : data_(data),
        seed_(config.seed),
        vocab_(std::get<TransformerModel>(config.model).vocab),
        outer_batch_(data.outer_batch > 0 ? data.outer_batch : data.batch) {
    if (config.data.kind != "random_tokens") stream_.emplace(data, config, vocab_);
  }

  std::vector<Field> fields() const override {
    return {{"tokens", DType::i32, {data_.sequence + 1}}};
  }
  std::int64_t inner_batch() const override { return data_.batch; }
  std::int64_t outer_batch(Split) const override { return outer_batch_; }
  bool same_batch_every_step() const override { return false; }
  Split final_split() const override {
    const bool has_test = !stream_ || data_.test > 0 || !data_.test_path.empty();
    return has_test ? Split::test : Split::validation;
  }
  std::int64_t output_width() const override { return vocab_; }

  DataFacts facts() const override { return stream_ ? stream_->facts() : DataFacts{}; }

  // A task's outer examples are drawn first: more steps only add batches.
  void fill_task(Split split, std::uint64_t index, std::int64_t task, std::int64_t steps, Precision,
                 std::span<std::byte* const> inner,
                 std::span<std::byte* const> outer) const override {
    const Split held_out = split == Split::train ? Split::validation : split;
    const std::int64_t length = data_.sequence + 1, batches = steps * data_.batch;
    auto* to_inner = reinterpret_cast<std::int32_t*>(inner[0]) + task * batches * length;
    auto* to_outer = reinterpret_cast<std::int32_t*>(outer[0]) + task * outer_batch_ * length;
    Rng rng(seed_, purpose_of(split), index, static_cast<std::uint32_t>(task));
    for (std::int64_t i = 0; i < outer_batch_; ++i, to_outer += length)
      draw(rng, held_out, false, to_outer);
    for (std::int64_t i = 0; i < batches; ++i, to_inner += length) {
      const bool corrupt = data_.corrupt > 0 && rng.uniform() < data_.corrupt;
      draw(rng, Split::train, corrupt, to_inner);
    }
  }

 private:
  // One example of S + 1 tokens.
  void draw(Rng& rng, Split split, bool corrupt, std::int32_t* to) const {
    const std::int64_t length = data_.sequence + 1;
    if (!stream_ || corrupt) {
      for (std::int64_t i = 0; i < length; ++i) {
        to[i] = static_cast<std::int32_t>(rng.below(static_cast<std::uint64_t>(vocab_)));
      }
      return;
    }
    const auto places = static_cast<std::uint64_t>(stream_->size(split) - length + 1);
    stream_->read(split, static_cast<std::int64_t>(rng.below(places)), length, to);
  }

  const TokensData data_;
  const std::uint64_t seed_;
  const std::int64_t vocab_;
  const std::int64_t outer_batch_;
  std::optional<TokenStream> stream_;  // none: random tokens
};

}  // namespace

std::unique_ptr<TaskSource> make_tokens(const TokensData& data, const Config& config) {
  return std::make_unique<Tokens>(data, config);
}

}  // namespace mixflow
