// A loop whose derivative is a loop of its own, beside it: its cotangents (vjp) or its tangents
// alone (jvp that takes the primal values from a loop that has run). Both start from the joint
// body: the loop's body, then its derivative inside the same builder, so that position tells one
// from the other; no partial evaluation is needed. The policy says which values the loop keeps for
// its derivative, which recomputes the others.
#pragma once

#include <vector>

#include "transform/differentiate.h"

namespace mixflow {

// An input of the derivative's body while it is being put together.
struct Feed {
  Id id;  // in the joint body
  Source source;
};

struct JointBody {
  Builder b;
  Ids in, out;  // of the loop's body
  // Cotangents (pull) or tangents (push); kNone: zero.
  Ids in_derivatives, out_derivatives;
  std::size_t forward_nodes = 0;

  explicit JointBody(const Graph& body);
  // With what gradients in mixed mode compute on the way, there to be kept too: all of it (no
  // names), and their second-order pass is then of tangents only; or what is called by one of
  // `names`. `active`: per input of the body.
  JointBody(Context& context, const Graph& body, const Mask& active,
            const std::vector<std::string>& names);

  // Cotangents of the inputs in `wanted`, given those of the outputs in `bars` as new inputs.
  void pull(Context& context, const Mask& bars, const Mask& wanted);
  // Tangents of the outputs of `body`, given those of the inputs in `dots` as new inputs.
  void push(Context& context, const Graph& body, const Mask& dots);

 private:
  std::vector<KeptGradient> gradients_;
};

// What a derivative's body has beyond the values of the loop itself.
struct DerivativeBody {
  Ids carried;               // inputs of a scan's body that are its carries
  Ids carries;               // outputs: what they become, or the sums of a map
  Ids ys;                    // outputs to be stacked
  std::vector<Feed> consts;  // derivatives that are the same in every iteration
  std::vector<Feed> xs;      // and those that are not
};

// The loop of such a body, of the same op as `region`'s. Values of the loop that it does not read
// are no inputs of it.
DerivedLoop derived_loop(const OpDef& op, const RegionPtr& region, const JointBody& joint,
                         const DerivativeBody& body, bool reverse);

}  // namespace mixflow
