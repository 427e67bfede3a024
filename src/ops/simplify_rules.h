// The algebra that Builder::emit applies to every node, one short rule per op. Rules look one node
// deep, never undo each other and never change a type, so building always ends and order of
// application does not matter.
#pragma once

#include <span>

#include "graph/op.h"

namespace mixflow {

// A simpler value equal to op(in; attrs), or kNone where no rule applies. `type` is the op's own
// answer for the result. As in every tensor compiler, 0 * x is taken to be 0 even where x is not
// finite.
Id simplify_call(Builder& builder, const OpDef& op, std::span<const Id> in, const Attrs& attrs,
                 const Type& type);

}  // namespace mixflow
