// `mixflow check` on whole configs.
#include "train/check.h"

#include <doctest/doctest.h>

#include "configs.h"

using namespace mixflow;

// A tiny step past a ReLU's kink changes the inner gradient, and so the objective, by a jump: in a batch of 25 tasks some
// kink is nearer than the steps that rounding allows for the batch as a whole.
TEST_CASE("central differences agree with the meta-gradient beside the kinks of ReLUs") {
  const std::filesystem::path configs = std::filesystem::path(MIXFLOW_SOURCE_DIR) / "configs";
  for (const std::string name : {"published/maml_sine_k5.yaml", "published/meta_sgd_sine.yaml"}) {
    CAPTURE(name);
    const CheckReport report = check(load_config(configs / name));
    for (const CheckLine& line : report.lines) {
      CAPTURE(line.what);
      CHECK(line.error <= line.tolerance);
    }
    CHECK(report.ok());
  }
}
