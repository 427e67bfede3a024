// Settings of rematerialisation that the plan does not know: loops over few values become straight
// code, which keeps what it needs, so what a config says about keeping may come to nothing. Whether
// it does follows from the network's sizes; so each such key is put back to its default and the
// planned graphs are compared. And the number of evaluation tasks where the data has only one.
#pragma once

#include <vector>

#include "config/idle.h"
#include "data/source.h"

namespace mixflow {

// Of meta.eval.tasks and of the keys under gradient.remat (and a preset) that were written with
// another value than their default. Looks at networks whose loops can become straight code at all;
// others answer at once.
std::vector<IdleSetting> idle_in_plan(const Config& config, const DataSchema& source, int threads);

}  // namespace mixflow
