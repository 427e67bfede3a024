// Checks that every primitive op passes, found by walking all_ops(): a new op is covered at once.
#include <doctest/doctest.h>

#include <limits>
#include <set>

#include "ops/builder.h"
#include "ops/sample_inputs.h"

namespace mixflow {
namespace {

using testing::describe;
using testing::draw;
using testing::draw_inputs;
using testing::for_each_sample;
using testing::run_ref;

TEST_CASE("Every op of the list is walked, has a name of its own and is complete") {
  std::set<std::string_view> names;
  std::size_t samples = 0;
  for (const OpDef* op : all_ops()) {
    CAPTURE(op->name);
    CHECK(names.insert(op->name).second);
    CHECK((op->infer != nullptr));
    CHECK((op->ref != nullptr));
    CHECK((op->cost != nullptr));
    CHECK((op->batch != nullptr) == (op->arity != 0));
    // Something can run it: a view is never run, a tile op is fused, the others have kernels.
    CHECK((op->view || op->tile != TileOp::none || op->lower != nullptr));
    REQUIRE((op->samples != nullptr));
    CHECK(!op->samples().empty());
    samples += op->samples().size();
  }
  CHECK(names.size() == all_ops().size());
  CHECK(all_ops().size() > 40);
  std::set<std::string_view> visited;
  std::size_t walked = 0;
  for_each_sample([&](const OpDef& op, const Sample&, Rng&) {
    visited.insert(op.name);
    ++walked;
  });
  CHECK(visited == names);
  CHECK(walked == samples);
}

TEST_CASE("A reference writes exactly the elements that the shape rule announces") {
  for_each_sample([](const OpDef& op, const Sample& sample, Rng& rng) {
    CAPTURE(describe(op, sample));
    REQUIRE((op.arity < 0 || static_cast<std::size_t>(op.arity) == sample.in.size()));
    const Type out_type = op.infer(sample.in, sample.attrs);
    const std::vector<Tensor64> inputs = draw_inputs(sample, rng);
    std::vector<const double*> in;
    for (const Tensor64& input : inputs) in.push_back(input.data());
    const auto size = static_cast<std::size_t>(out_type.elements());
    REQUIRE(size > 0);
    constexpr double kGuard = 12345.678;
    Tensor64 first(size + 2, kGuard);
    op.ref({sample.in, in, out_type, first.data() + 1, sample.attrs});
    CHECK(first.front() == kGuard);
    CHECK(first.back() == kGuard);
    // A second run over other bytes: what was there before must not matter.
    Tensor64 second(size + 2, -kGuard);
    op.ref({sample.in, in, out_type, second.data() + 1, sample.attrs});
    for (std::size_t i = 1; i <= size; ++i) {
      CHECK(std::isfinite(first[i]));
      CHECK(first[i] == second[i]);
    }
  });
}

TEST_CASE("Costs count each written byte once, no flop in views and one per elementwise result") {
  for_each_sample([](const OpDef& op, const Sample& sample, Rng&) {
    CAPTURE(describe(op, sample));
    const Type out = op.infer(sample.in, sample.attrs);
    const Cost cost = op.cost(sample.in, out, sample.attrs);
    if (op.view) {
      CHECK(cost.flop == 0);
      CHECK(cost.bytes_read == 0);
      CHECK(cost.bytes_written == 0);
      return;
    }
    CHECK(cost.flop >= 0);
    CHECK(cost.bytes_written == out.bytes());
    CHECK((cost.bytes_read > 0) == !sample.in.empty());
    if (has_deriv<Elementwise>(op)) {
      CHECK(cost.flop == out.elements());
      CHECK(cost.bytes_read == static_cast<std::int64_t>(sample.in.size()) * out.bytes());
    }
  });
}

TEST_CASE("A view has its operand's elements, in their order") {
  int views = 0;
  for_each_sample([&](const OpDef& op, const Sample& sample, Rng& rng) {
    if (!op.view) return;
    CAPTURE(describe(op, sample));
    const std::vector<Tensor64> inputs = draw_inputs(sample, rng);
    CHECK(run_ref(op, sample, inputs) == inputs[0]);
    ++views;
  });
  CHECK(views > 0);
}

TEST_CASE("An op that may overwrite an operand gives the same result in its place") {
  int overwritten = 0;
  for_each_sample([&](const OpDef& op, const Sample& sample, Rng& rng) {
    CAPTURE(describe(op, sample));
    const Type out_type = op.infer(sample.in, sample.attrs);
    const std::vector<Tensor64> inputs = draw_inputs(sample, rng);
    const Tensor64 expected = run_ref(op, sample, inputs);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (!may_overwrite(op, inputs.size(), i) || sample.in[i].bytes() != out_type.bytes())
        continue;
      std::vector<Tensor64> copies = inputs;
      std::vector<const double*> in;
      for (const Tensor64& input : copies) in.push_back(input.data());
      op.ref({sample.in, in, out_type, copies[i].data(), sample.attrs});
      CHECK(copies[i] == expected);
      ++overwritten;
    }
  });
  CHECK(overwritten > 100);
}

TEST_CASE("A dot_sum may overwrite only what it adds the products to") {
  CHECK(may_overwrite(op::k_dot_sum, 3, 2));
  CHECK(may_overwrite(op::k_dot_sum, 5, 4));
  CHECK_FALSE(may_overwrite(op::k_dot_sum, 5, 2));
  CHECK_FALSE(may_overwrite(op::k_dot_sum, 4, 3));
  CHECK_FALSE(may_overwrite(op::k_dot_sum, 3, 0));
}

// Which operands have the new axis: all, each alone, all but one.
std::vector<std::vector<bool>> batching_masks(std::size_t count) {
  std::vector<std::vector<bool>> masks{std::vector<bool>(count, true)};
  for (std::size_t i = 0; i < count && count > 1; ++i) {
    std::vector<bool> one(count, false);
    one[i] = true;
    masks.push_back(one);
    one.flip();
    masks.push_back(one);
  }
  return masks;
}

// The op's batching rule as a graph, evaluated.
Tensor64 run_batched(const OpDef& op, const Sample& sample, const std::vector<bool>& batched,
                     std::int64_t n, const std::vector<Tensor64>& inputs) {
  Builder b;
  Ids in;
  for (std::size_t i = 0; i < sample.in.size(); ++i) {
    in.push_back(b.input(batched[i] ? stacked(sample.in[i], n) : sample.in[i]));
  }
  const Id out = op.batch(b, {op, in, kNone, sample.attrs}, in, batched, n);
  CHECK(b.type(out) == stacked(op.infer(sample.in, sample.attrs), n));
  return evaluate(*b.finish({out}), inputs)[0];
}

TEST_CASE("A batching rule gives what the op gives for each instance on its own, bit for bit") {
  for_each_sample([](const OpDef& op, const Sample& sample, Rng& rng) {
    if (op.batch == nullptr) return;
    CAPTURE(describe(op, sample));
    for (const std::vector<bool>& batched : batching_masks(sample.in.size())) {
      for (const std::int64_t n : {1, 3}) {
        std::vector<std::vector<Tensor64>> instances(static_cast<std::size_t>(n),
                                                     draw_inputs(sample, rng));
        std::vector<Tensor64> inputs = instances[0];
        for (std::size_t k = 1; k < instances.size(); ++k) {
          for (std::size_t i = 0; i < inputs.size(); ++i) {
            if (!batched[i]) continue;
            Tensor64& own = instances[k][i];
            own = draw(sample.in[i], sample, rng);
            inputs[i].insert(inputs[i].end(), own.begin(), own.end());
          }
        }
        Tensor64 expected;
        for (const std::vector<Tensor64>& instance : instances) {
          const Tensor64 out = run_ref(op, sample, instance);
          expected.insert(expected.end(), out.begin(), out.end());
        }
        CHECK(run_batched(op, sample, batched, n, inputs) == expected);
      }
    }
  });
}

TEST_CASE("One weight matrix for all instances is multiplied without being repeated") {
  Builder b;
  const Id x = b.input({DType::f32, {3, 4, 5}});
  const Id w = b.input({DType::f32, {5, 6}});
  const Ids in{x, w};
  const Id y = op::k_dot.batch(b, {op::k_dot, in, kNone, {}}, in, {true, false}, 3);
  const GraphPtr graph = b.finish({y});
  CHECK(count_ops(*graph, op::k_dot) == 1);
  CHECK(count_ops(*graph, op::k_broadcast) == 0);
}

}  // namespace
}  // namespace mixflow
