// One fixed task over a table: the inner loss reads the training split, the outer loss the
// validation split.
#pragma once

#include <memory>
#include <vector>

#include "data/source.h"

namespace mixflow {

// Labels become classes as data.labels says (labels.h). Throws UserError for files that are no data
// set, targets that do not fit the loss, and splits or batches that the rows are too few for.
//
// Split::train: outer batches are data.outer_batch validation examples (0: all). Split::validation
// and Split::test evaluate: their outer batch is the whole validation or test split (without a test
// share, both are the validation split, and final_split() says so). Inner batches come from the
// training split always; smaller ones pass over it in epochs, each epoch in an order of its own,
// keyed by (seed, split, index, task), its incomplete last batch left out.
std::unique_ptr<TaskSource> make_tabular(const TabularData& data, const Config& config);
std::unique_ptr<DataSchema> make_tabular_schema(const TabularData& data, const Config& config);

}  // namespace mixflow
