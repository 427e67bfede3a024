// The shape rule of the structural ops (scan, map, grad, fused): what graph.h says about Region, as
// a function.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "graph/graph.h"

namespace mixflow {

// Shape [n, rest..] of a scanned input or output.
Type stacked(const Type& type, std::int64_t n);
// Type of one iteration's slice.
Type sliced(const Type& type);

// Types of the body's inputs or outputs, in order.
std::vector<Type> input_types(const Graph& graph);
std::vector<Type> output_types(const Graph& graph);

// Output types of the structural op called `op`. Throws InternalError where the inputs do not fit
// the body, or the body's outputs do not fit the region.
std::vector<Type> infer_region(std::string_view op, std::span<const Type> in, const Region& region);

}  // namespace mixflow
