// One fixed task over a table: the inner loss reads the training split, the outer loss the
// validation split.
#pragma once

#include <memory>
#include <vector>

#include "data/source.h"

namespace mixflow {

// Throws UserError for files that are no data set, targets that do not fit the loss, and splits or
// batches that the rows are too few for.
//
// Split::train: outer batches are data.outer_batch validation examples (0: all). Split::validation
// and Split::test evaluate: their outer batch is the whole validation or test split (without a test
// share: the validation split). Inner batches come from the training split always; smaller ones
// pass over it in epochs, each epoch in an order of its own, keyed by (seed, split, index, task),
// its incomplete last batch left out.
std::unique_ptr<TaskSource> make_tabular(const TabularData& data, const Config& config);

// Rows of each split, in the order in which they are used.
struct RowSplit {
  std::vector<std::int64_t> train, validation, test;
};
// Shares of `rows`, rounded to the nearest; `random` shuffles by the seed. Throws UserError if a
// share that is not 0 gets no row, or training none.
RowSplit split_rows(std::int64_t rows, const TabularData& data, const Config& config);

}  // namespace mixflow
