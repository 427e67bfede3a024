// Every op that has a kernel of its own, on its samples and on larger shapes: the kernel against
// the op's f64 reference, guard bytes around output and scratch, in place where that is allowed,
// and repeated.
#include "ops/lower.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <set>

#include "kernels/guarded.h"
#include "ops/sample_inputs.h"
#include "util/error.h"

namespace mixflow {
namespace {

using testing::describe;
using testing::draw_inputs;
using testing::Guarded;

std::vector<std::byte> to_bytes(const Tensor64& values, DType dtype) {
  std::vector<std::byte> bytes(values.size() * 4);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (dtype == DType::f32) {
      const auto value = static_cast<float>(values[i]);
      std::memcpy(&bytes[i * 4], &value, 4);
    } else {
      const auto value = static_cast<std::int32_t>(values[i]);
      std::memcpy(&bytes[i * 4], &value, 4);
    }
  }
  return bytes;
}

Tensor64 to_doubles(const std::byte* bytes, const Type& type) {
  Tensor64 values(static_cast<std::size_t>(type.elements()));
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (type.dtype == DType::f32) {
      float value = 0;
      std::memcpy(&value, bytes + i * 4, 4);
      values[i] = static_cast<double>(value);
    } else {
      std::int32_t value = 0;
      std::memcpy(&value, bytes + i * 4, 4);
      values[i] = value;
    }
  }
  return values;
}

// Runs the kernel; the output takes the place of input `over`, or none if that is negative.
Tensor64 run(const Kernel& kernel, const std::vector<std::vector<std::byte>>& inputs,
             const Type& out_type, std::ptrdiff_t over) {
  Guarded out(out_type.bytes());
  Guarded scratch(kernel.scratch_bytes);
  std::vector<const std::byte*> in;
  for (const auto& input : inputs) in.push_back(input.data());
  if (over >= 0) {
    const auto& input = inputs[static_cast<std::size_t>(over)];
    std::copy(input.begin(), input.end(), out.data());
    in[static_cast<std::size_t>(over)] = out.data();
  }
  std::byte* outs[] = {out.data()};
  kernel.run(in.data(), outs, scratch.data());
  CHECK(out.intact());
  CHECK(scratch.intact());
  return to_doubles(out.data(), out_type);
}

void check(const OpDef& op, const Sample& sample, Rng& rng) {
  const std::string text = describe(op, sample);
  CAPTURE(text);
  const Type out_type = op.infer(sample.in, sample.attrs);
  std::vector<Tensor64> values = draw_inputs(sample, rng);
  std::vector<std::vector<std::byte>> inputs;
  for (std::size_t i = 0; i < values.size(); ++i) {
    inputs.push_back(to_bytes(values[i], sample.in[i].dtype));
    values[i] = to_doubles(inputs[i].data(), sample.in[i]);  // what the kernel sees
  }
  const Tensor64 expected = testing::run_ref(op, sample, values);
  // A sum of n random terms has the size of sqrt(n), even where it happens to cancel.
  double elements = 1;
  for (const Type& type : sample.in)
    elements = std::max(elements, static_cast<double>(type.elements()));
  const double scale =
      std::sqrt(elements / std::max(1.0, static_cast<double>(out_type.elements())));
  for (const int threads : {1, 2}) {
    const auto kernel = op.lower({sample.in, {&out_type, 1}, sample.attrs, threads});
    const Tensor64 y = run(*kernel, inputs, out_type, -1);
    REQUIRE(y.size() == expected.size());
    double worst = 0;
    for (std::size_t i = 0; i < y.size(); ++i) {
      const double error = std::abs(y[i] - expected[i]) / (1 + scale + std::abs(expected[i]));
      worst = error <= worst ? worst : error;  // a NaN stays
    }
    CHECK(worst < 2e-6);
    CHECK(run(*kernel, inputs, out_type, -1) == y);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (!may_overwrite(op, inputs.size(), i) || sample.in[i] != out_type) continue;
      CHECK(run(*kernel, inputs, out_type, static_cast<std::ptrdiff_t>(i)) == y);
    }
  }
}

TEST_CASE("Every kernel agrees with the op's reference on the op's samples") {
  std::set<std::string_view> lowered;
  testing::for_each_sample([&](const OpDef& op, const Sample& sample, Rng& rng) {
    if (op.lower == nullptr) return;
    for (const Type& type : sample.in) {
      if (type.dtype == DType::f64) return;
    }
    if (op.infer(sample.in, sample.attrs).dtype == DType::f64) return;
    lowered.insert(op.name);
    check(op, sample, rng);
  });
  CHECK(lowered.size() >= 17);
}

// A sample of one f32 input.
Sample of(Shape shape, Attrs attrs) {
  return {.in = {{DType::f32, std::move(shape)}}, .attrs = std::move(attrs)};
}

TEST_CASE("Movements of every kind of stride agree with the reference, large enough for threads") {
  Rng rng(1, Purpose::check, 1000);
  for (const Shape& axes : {Shape{0, 1, 2}, Shape{0, 2, 1}, Shape{1, 0, 2}, Shape{1, 2, 0},
                            Shape{2, 0, 1}, Shape{2, 1, 0}}) {
    check(op::k_transpose, of({5, 33, 18}, {.axes = axes}), rng);
    check(op::k_transpose, of({70, 65, 64}, {.axes = axes}), rng);
    check(op::k_transpose, of({1, 3, 2}, {.axes = axes}), rng);
  }
  check(op::k_transpose, of({600, 513}, {.axes = {1, 0}}), rng);
  check(op::k_transpose, of({2, 3, 16, 8}, {.axes = {0, 2, 1, 3}}), rng);
  check(op::k_transpose, of({2, 3, 16, 8}, {.axes = {3, 1, 0, 2}}), rng);
  for (const Shape& axes :
       {Shape{0}, Shape{1}, Shape{2}, Shape{0, 1}, Shape{0, 2}, Shape{1, 2}, Shape{0, 1, 2}}) {
    check(op::k_reverse, of({80, 61, 62}, {.axes = axes}), rng);
    Shape kept;
    const Shape all = {80, 61, 62};
    for (std::int64_t axis = 0; axis < 3; ++axis) {
      if (std::ranges::find(axes, axis) == axes.end())
        kept.push_back(all[static_cast<std::size_t>(axis)]);
    }
    check(op::k_broadcast, of(kept, {.shape = all, .axes = axes}), rng);
    check(op::k_sum, of({80, 121, 122}, {.axes = axes}), rng);
    check(op::k_max_reduce, of({80, 121, 122}, {.axes = axes}), rng);
  }
  check(op::k_slice, of({80, 61, 62}, {.axes = {79, 61, 60}, .starts = {2, 0, 3}}), rng);
  check(op::k_slice, of({80, 61, 62}, {.axes = {80, 60, 62}, .starts = {0, 1, 0}}), rng);
  check(op::k_pad, of({70, 61, 60}, {.shape = {80, 61, 62}, .starts = {2, 0, 1}}), rng);
  for (const std::int64_t axis : {0, 1, 2}) {
    Sample sample = of({70, 61, 60}, {.axes = {axis}});
    sample.in.push_back(sample.in[0]);
    sample.in[1].shape[static_cast<std::size_t>(axis)] = 3;
    sample.in.push_back(sample.in[0]);
    check(op::k_concat, sample, rng);
  }
}

TEST_CASE("Rows by index agree with the reference where threads share them") {
  Rng rng(1, Purpose::check, 1001);
  const Type positions{DType::i32, {70, 9}};
  check(op::k_gather, {.in = {{DType::f32, {11, 500}}, positions}, .index_limit = 11}, rng);
  Sample scatter{.in = {{DType::f32, {70, 9, 500}}, positions}, .index_limit = 11};
  scatter.attrs.value = 11;
  check(op::k_scatter_add, scatter, rng);
}

TEST_CASE("An index outside the table is an error, not a read outside it") {
  const std::vector<Type> in{{DType::f32, {3, 2}}, {DType::i32, {2}}};
  const Type out{DType::f32, {2, 2}};
  const auto kernel = lower_gather({in, {&out, 1}, {}, 1});
  const std::vector<float> table(6);
  float result[4];
  for (const std::int32_t bad : {-1, 3}) {
    const std::int32_t index[] = {0, bad};
    const std::byte* inputs[] = {reinterpret_cast<const std::byte*>(table.data()),
                                 reinterpret_cast<const std::byte*>(index)};
    std::byte* outputs[] = {reinterpret_cast<std::byte*>(result)};
    CHECK_THROWS_AS(kernel->run(inputs, outputs, nullptr), InternalError);
  }
}

TEST_CASE("f64 has no kernels") {
  const Type type{DType::f64, {2, 2}};
  const std::vector<Type> in{type, type};
  CHECK_THROWS_AS(lower_dot({in, {&type, 1}, {}, 1}), InternalError);
}

}  // namespace
}  // namespace mixflow
