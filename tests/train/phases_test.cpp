// The phases that a plan tells of.
#include <doctest/doctest.h>

#include <algorithm>

#include "configs.h"

using namespace mixflow;

namespace {

const Phase* find(const Body& body, std::string_view name) {
  const auto found = std::ranges::find(body.phases, name, &Phase::name);
  return found == body.phases.end() ? nullptr : &*found;
}

}  // namespace

TEST_CASE("a plan names the phases of a meta-step, and the fullest of them is its peak") {
  for (const std::string batch : {"1", "5"}) {
    CAPTURE(batch);
    const Built built(small_config(
        {"meta.batch=" + batch, "inner.steps=4", "inner.optimizer.kind=adam", "gradient.chunk=1"}));
    const ProgramPtr program = compile_stage(built.experiment.train, {});
    const Body& body = *program->body;
    std::int64_t most = 0;
    for (const Phase& phase : body.phases) most = std::max(most, phase.peak_bytes);
    std::int64_t alive = 0;
    for (const Live& live : body.peak) alive += aligned(live.bytes);
    CHECK(most <= aligned(body.workspace_bytes));
    CHECK(most >= alive);
    for (const char* name :
         {"unroll", "outer loss", "outer loss bar", "unroll bar", "meta update"}) {
      CAPTURE(name);
      REQUIRE(find(body, name) != nullptr);
      CHECK(find(body, name)->peak_bytes > 0);
    }
    // Adam's state and the gradients of the steps wait for the backward pass.
    CHECK(find(body, "unroll")->kept_bytes > 3 * 4 * built.experiment.theta_size * 4);
    CHECK(find(body, "unroll bar")->kept_bytes <= 64);
  }
}
