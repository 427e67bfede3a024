// Sequences of tokens for language models: bytes of text, arrays of ids, or random ids.
#pragma once

#include <memory>

#include "data/source.h"

namespace mixflow {

// One field, tokens i32 [B, S+1]: windows at random places of a split (see token_stream.h), drawn
// anew for every inner step. Inner examples come from the training split always; outer examples
// from the validation split or, for Split::test, from the test split. They depend on (seed, split,
// index, task) alone; more steps only add batches.
//
// Each inner example is replaced by uniformly random tokens with probability data.corrupt, in
// held-out tasks as in training, since evaluation repeats the inner problem that was trained for.
// Outer examples never are. random_tokens draws every token uniformly from the vocabulary. Throws
// UserError as TokenStream does. config.model is a transformer.
std::unique_ptr<TaskSource> make_tokens(const TokensData& data, const Config& config);

}  // namespace mixflow
