// Meta-parameters whose derivative is zero whatever the data: learning them would change nothing,
// so they are refused with the reason. Two ways to be so are told from the graphs: no path leads
// from eta to the outer loss (the transforms know), or every path cancels, as in Adam's first step,
// which its bias correction makes independent of the betas. The second is an identity of the update
// rule, the same for every weight: it is tested on the rule's own graph with one weight, at random
// points. Derivatives that are zero by value alone, such as those of a dead unit, are no matter of
// this.
#pragma once

#include <span>

#include "config/config.h"
#include "meta/parameters.h"
#include "transform/transform.h"

namespace mixflow {

class Hypers;

// Throws UserError for a hyper-parameter whose derivative the update rule makes zero.
void refuse_cancelled(const Config& config);

// Throws UserError for a tensor of eta, theta_0's aside (the loader knows what cuts them off), from
// which no path leads to the outer loss. `reached`: which inputs of a task's graph have a
// cotangent; the first `theta0` of them are theta_0 and the next are the values of `hypers`.
void refuse_unreached(const Config& config, std::span<const EtaTensor> eta, const Hypers& hypers,
                      const Mask& reached, std::size_t theta0);

}  // namespace mixflow
