// Few-shot episodes over a classification set (Vinyals et al. 2016): each task is a small
// classification problem of its own, over classes and examples drawn for it.
#pragma once

#include <memory>

#include "data/source.h"

namespace mixflow {

// One task draws `ways` classes of its split, relabels them 0 .. ways-1 in random order, and draws
// shots + queries different examples of each: the first are the support (inner batch, the same
// every step), the others the queries (outer batch). Both are ordered by label. Classes of the
// three splits are disjoint; a split that the config gives no classes uses those of the other
// held-out one. x is normalised by the training classes' statistics. Throws UserError for classes
// or examples that are too few.
//
// Classes are numbered by data.labels (labels.h); lists of classes name these numbers, and need a
// rule that says which they are where labels are not 0 .. C-1.
std::unique_ptr<TaskSource> make_episodes(const EpisodesData& data, const Config& config);
std::unique_ptr<DataSchema> make_episodes_schema(const EpisodesData& data, const Config& config);

}  // namespace mixflow
