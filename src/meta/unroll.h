// The inner problem of one task as a graph:
//
//   theta_0, opt_state_0           = 0, or where the unroll before ended
//   g_t                            = dL/dtheta(theta_t, eta, x_t)
//   (theta_{t+1}, opt_state_{t+1}) = Upsilon(g_t, theta_t, opt_state_t, eta)
//   outer loss                     = V(theta_T, x_val): L without its L2 term
//
// The T steps are a scan, or two where the last ones keep more (remat.policy.reuse), whose body
// holds the inner gradient as a `grad` node, so that graph size does not depend on T and the
// derivative of the gradient is a choice: kept symbolic for mixed mode and first order, lowered
// before the outer vjp for reverse mode (Kemaev et al. 2025, section 3). Per-step rematerialisation
// is the scan's policy.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "meta/hypers.h"
#include "models/model.h"
#include "models/transformer.h"
#include "ops/builder.h"

namespace mixflow {

inline void append(Ids& list, std::span<const Id> more) {
  list.insert(list.end(), more.begin(), more.end());
}

// Name of the inner gradients g_t, for policies that keep them.
inline constexpr const char* kInnerGrads = "inner_grads";

// What the inner data of a task look like.
struct InnerData {
  std::vector<Type> batch;  // the fields of one inner batch, [B, ..]
  bool same_batch = false;  // [1, B, ..], read by every step, instead of [T, B, ..]
  // Type of a field over the whole unroll.
  Type unrolled(std::size_t field, std::int64_t steps) const {
    return stacked(batch[field], same_batch ? 1 : steps);
  }
};

class Unroll {
 public:
  // Keeps references to its arguments. `scorer`: weighs the examples of the inner loss; null: their
  // mean counts.
  Unroll(const Config& config, const Model& model, const ScoreNetwork* scorer, const Hypers& hypers,
         const InnerData& inner_data, DType dtype);

  struct State {
    Ids theta;
    Ids opt_state;  // tensor by tensor, in the order of opt_state_names
  };
  struct Steps {
    State state;
    Id losses;  // L at each step [count]
  };

  // theta_0 and a zero optimiser state.
  State start(Builder& b, std::span<const Id> theta0) const;
  // Steps first .. first + count - 1, counted from 0, of an unroll of as many steps as `shared`
  // (Hypers::compute) and `data` (inner fields, [steps or 1, B, ..]) have; count > 0. `policy`
  // matters where they are differentiated; by default they keep everything.
  Steps run(Builder& b, const State& state, std::span<const Id> shared, std::span<const Id> data,
            std::int64_t first, std::int64_t count, const Policy& policy = {}) const;
  // All T steps on from a state; derivatives flow through the last inner.window only. The steps
  // before read `prefix` instead of `shared`: the same values, or others with which to vary the
  // window alone.
  Steps run_all(Builder& b, const State& from, std::span<const Id> shared,
                std::span<const Id> prefix, std::span<const Id> data) const;
  // V on an outer batch.
  Id outer_loss(Builder& b, std::span<const Id> theta, std::span<const Id> fields) const;

  // L of one step: (theta.., the shared values it reads.., fields..) -> scalar.
  const GraphPtr& inner_loss() const { return inner_loss_; }

 private:
  GraphPtr build_inner_loss() const;
  GraphPtr build_body() const;

  const Config& config_;
  const Model& model_;
  const ScoreNetwork* scorer_;
  const Hypers& hypers_;
  const InnerData& inner_data_;
  DType dtype_;
  GraphPtr inner_loss_;
  GraphPtr body_;
};

// What a scan over inner steps keeps under the configuration's remat switches; `reused`: these
// steps are among the last reused_steps.
Policy step_policy(const RematConfig& remat, bool reused);

}  // namespace mixflow
