// Sequences of tokens for language models: bytes of text, arrays of ids, or random ids.
#pragma once

#include <memory>

#include "data/source.h"

namespace mixflow {

// One field, tokens i32 [B, S+1]: windows of the stream at random places, drawn anew for every
// inner step; the outer loss draws from the validation stream, Split::test from the test stream
// (without a test share: the validation stream). Each file is cut into train, validation and test
// by its own length, in that order, and the pieces of all files are joined. Inner examples of
// training are replaced by uniformly random tokens with probability data.corrupt, independently;
// outer ones never are. random_tokens draws every token uniformly from the vocabulary. Throws
// UserError for files that cannot be read, splits shorter than S + 1 tokens, and ids outside of
// model.vocab.
std::unique_ptr<TaskSource> make_tokens(const TokensData& data, const Config& config);

}  // namespace mixflow
