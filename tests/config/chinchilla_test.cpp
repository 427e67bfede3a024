#include "config/chinchilla.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "config_texts.h"

using namespace mixflow;

namespace {

// The transformer of a config whose model says `model`.
TransformerModel loaded(const std::string& model) {
  const Config config = parse_config("data: {kind: random_tokens}\nmodel: {kind: transformer, " +
                                         model + "}\nmeta: {parameters: [{kind: init}]}\n",
                                     "c.yaml");
  return std::get<TransformerModel>(config.model);
}

}  // namespace

TEST_CASE("every Chinchilla size is found by its name, and the table rises") {
  std::set<std::string> names;
  for (const ChinchillaSize& size : chinchilla_sizes()) {
    CAPTURE(size.params_millions);
    CHECK(find_chinchilla(name_of(size)) == &size);
    names.insert(name_of(size));
    CHECK(size.kv_size % 2 == 0);
    CHECK(size.ffw == 4 * size.d_model);
  }
  CHECK(names.size() == chinchilla_sizes().size());
  CHECK(std::ranges::is_sorted(chinchilla_sizes(), {}, &ChinchillaSize::params_millions));
}

TEST_CASE("billions name the one row that rounds to them") {
  REQUIRE(find_chinchilla("16B") != nullptr);
  CHECK(find_chinchilla("16B")->params_millions == 16183);
  REQUIRE(find_chinchilla("9b") != nullptr);
  CHECK(find_chinchilla("9b")->params_millions == 9293);
  CHECK(find_chinchilla("2B") == nullptr);  // several
  CHECK(find_chinchilla("8B") == nullptr);  // none
}

TEST_CASE("what is no size is not found") {
  for (const char* name : {"", "M", "489", "489 M", "489MB", "x489M", "-44M", "44.0M", "488M",
                           "99999999999999999999M"}) {
    CAPTURE(name);
    CHECK(find_chinchilla(name) == nullptr);
  }
}

TEST_CASE("a size gives a transformer all of its widths") {
  CHECK(loaded("size: 489M, vocab: 32000") == TransformerModel{.size = "489M",
                                                               .vocab = 32000,
                                                               .d_model = 1280,
                                                               .ffw = 5120,
                                                               .heads = 10,
                                                               .kv_size = 128,
                                                               .layers = 21});
}

TEST_CASE("a scoring network reads the model's vocabulary, and tokens are classified by default") {
  const Config config = parse_config(
      "data: {kind: random_tokens}\n"
      "model: {kind: transformer, size: 44M, vocab: 77}\n"
      "meta: {parameters: [{kind: loss_weights, model: {kind: transformer, size: 57M}}]}\n",
      "c.yaml");
  const auto& scorer = config.meta.parameters[0].model;
  CHECK(scorer.vocab == 77);
  CHECK(scorer.layers == 9);
  CHECK(config.inner.loss == Loss::cross_entropy);
}
