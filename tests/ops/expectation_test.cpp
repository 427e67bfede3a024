// Results worked out by hand, independent of the references' loops, and the messages of the shape
// rules.
#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "ops/builder.h"
#include "ops/op_list.h"
#include "ops/pack.h"
#include "ops/reference.h"
#include "util/error.h"

namespace mixflow {
namespace {

using Operand = std::pair<Type, Tensor64>;

Type f32(Shape shape) { return {DType::f32, std::move(shape)}; }
Type i32(Shape shape) { return {DType::i32, std::move(shape)}; }

Tensor64 run(const OpDef& op, const std::vector<Operand>& operands, const Attrs& attrs = {}) {
  std::vector<Type> types;
  std::vector<const double*> in;
  for (const auto& [type, values] : operands) {
    REQUIRE(std::ssize(values) == type.elements());
    types.push_back(type);
    in.push_back(values.data());
  }
  const Type out_type = op.infer(types, attrs);
  Tensor64 out(static_cast<std::size_t>(out_type.elements()));
  op.ref({types, in, out_type, out.data(), attrs});
  return out;
}

Tensor64 run_unary(const OpDef& op, const Tensor64& x) {
  return run(op, {{f32({std::ssize(x)}), x}});
}

Tensor64 run_binary(const OpDef& op, const Tensor64& a, const Tensor64& b) {
  return run(op, {{f32({std::ssize(a)}), a}, {f32({std::ssize(b)}), b}});
}

const Operand kMatrix = {f32({2, 3}), {1, 2, 3, 4, 5, 6}};

TEST_CASE("Elementwise ops compute what their names say") {
  CHECK(run_unary(op::k_neg, {1, -2}) == Tensor64{-1, 2});
  CHECK(run_unary(op::k_exp, {0}) == Tensor64{1});
  CHECK(run_unary(op::k_log, {1}) == Tensor64{0});
  CHECK(run_unary(op::k_sqrt, {9, 0.25}) == Tensor64{3, 0.5});
  CHECK(run_unary(op::k_rsqrt, {4}) == Tensor64{0.5});
  CHECK(run_unary(op::k_reciprocal, {-4}) == Tensor64{-0.25});
  CHECK(run_unary(op::k_square, {-3}) == Tensor64{9});
  CHECK(run_unary(op::k_tanh, {0, 1e3, -1e3}) == Tensor64{0, 1, -1});
  CHECK(run_unary(op::k_sin, {0}) == Tensor64{0});
  CHECK(run_unary(op::k_cos, {0}) == Tensor64{1});
  CHECK(run_unary(op::k_abs, {-2, 3}) == Tensor64{2, 3});
  CHECK(run_unary(op::k_sign, {-2, 0, 3}) == Tensor64{-1, 0, 1});
  CHECK(run_unary(op::k_relu, {-2, 0, 3}) == Tensor64{0, 0, 3});
  CHECK(run_unary(op::k_step, {-2, 0, 3}) == Tensor64{0, 0, 1});
  CHECK(run_binary(op::k_add, {1, 2}, {10, 20}) == Tensor64{11, 22});
  CHECK(run_binary(op::k_sub, {1, 2}, {10, 20}) == Tensor64{-9, -18});
  CHECK(run_binary(op::k_mul, {3, -2}, {5, 7}) == Tensor64{15, -14});
  CHECK(run_binary(op::k_div, {3, -8}, {2, 4}) == Tensor64{1.5, -2});
  CHECK(run_binary(op::k_max, {1, 5}, {3, 4}) == Tensor64{3, 5});
  CHECK(run_binary(op::k_min, {1, 5}, {3, 4}) == Tensor64{1, 4});
  CHECK(run_binary(op::k_pow, {2, 9}, {10, 0.5}) == Tensor64{1024, 3});
  CHECK(run_binary(op::k_less, {1, 2, 3}, {2, 2, 2}) == Tensor64{1, 0, 0});
  CHECK(run_binary(op::k_equal, {1, 2, 3}, {2, 2, 2}) == Tensor64{0, 1, 0});
  CHECK(run(op::k_select, {{f32({2}), {0, -1}}, {f32({2}), {1, 2}}, {f32({2}), {3, 4}}}) ==
        Tensor64{3, 2});
}

TEST_CASE("sigmoid, softplus and logsumexp neither overflow nor lose small results") {
  CHECK(run_unary(op::k_sigmoid, {0, 1e4}) == Tensor64{0.5, 1});
  CHECK(run_unary(op::k_sigmoid, {-100})[0] == doctest::Approx(std::exp(-100)));
  CHECK(run_unary(op::k_softplus, {1e4}) == Tensor64{1e4});
  CHECK(run_unary(op::k_softplus, {-100})[0] == doctest::Approx(std::exp(-100)));
  CHECK(run_unary(op::k_softplus, {0})[0] == doctest::Approx(std::log(2)));
  const double large = 1e4;
  const Operand rows = {f32({2, 2}), {large, large, -large, 0}};
  const Tensor64 y = run(op::k_logsumexp, {rows});
  CHECK(y[0] == doctest::Approx(large + std::log(2)));
  CHECK(y[1] == 0);
}

TEST_CASE("Conversion to integers truncates") {
  const Operand x = {f32({4}), {1.75, -1.75, 0.5, 3}};
  CHECK(run(op::k_convert, {x}, {.dtype = DType::i32}) == Tensor64{1, -1, 0, 3});
  CHECK(run(op::k_convert, {x}, {.dtype = DType::f64}) == x.second);
}

TEST_CASE("Reductions remove their axes") {
  CHECK(run(op::k_sum, {kMatrix}, {.axes = {0}}) == Tensor64{5, 7, 9});
  CHECK(run(op::k_sum, {kMatrix}, {.axes = {1}}) == Tensor64{6, 15});
  CHECK(run(op::k_sum, {kMatrix}, {.axes = {0, 1}}) == Tensor64{21});
  CHECK(run(op::k_max_reduce, {kMatrix}, {.axes = {1}}) == Tensor64{3, 6});
  const Operand negative = {f32({2, 2}), {-1, -2, -3, -4}};
  CHECK(run(op::k_max_reduce, {negative}, {.axes = {0}}) == Tensor64{-1, -2});
}

TEST_CASE("Shape ops move the right elements") {
  CHECK(run(op::k_full, {}, {.shape = {2}, .value = 7}) == Tensor64{7, 7});
  CHECK(run(op::k_iota, {}, {.shape = {2, 3}, .axes = {0}}) == Tensor64{0, 0, 0, 1, 1, 1});
  CHECK(run(op::k_iota, {}, {.shape = {2, 3}, .axes = {1}}) == Tensor64{0, 1, 2, 0, 1, 2});
  CHECK(run(op::k_transpose, {kMatrix}, {.axes = {1, 0}}) == Tensor64{1, 4, 2, 5, 3, 6});
  // [2,1,3] under (2,0,1): result [3,2,1] with result[i][j][k] = x[j][k][i].
  const Operand cube = {f32({2, 1, 3}), kMatrix.second};
  CHECK(run(op::k_transpose, {cube}, {.axes = {2, 0, 1}}) == Tensor64{1, 4, 2, 5, 3, 6});
  const Operand pair = {f32({2}), {1, 2}};
  CHECK(run(op::k_broadcast, {pair}, {.shape = {2, 2}, .axes = {0}}) == Tensor64{1, 2, 1, 2});
  CHECK(run(op::k_broadcast, {pair}, {.shape = {2, 2}, .axes = {1}}) == Tensor64{1, 1, 2, 2});
  CHECK(run(op::k_slice, {kMatrix}, {.axes = {2, 3}, .starts = {0, 1}}) == Tensor64{2, 3, 5, 6});
  CHECK(run(op::k_pad, {pair}, {.shape = {5}, .starts = {2}}) == Tensor64{0, 0, 1, 2, 0});
  CHECK(run(op::k_concat, {kMatrix, {f32({2, 1}), {7, 8}}}, {.axes = {1}}) ==
        Tensor64{1, 2, 3, 7, 4, 5, 6, 8});
  CHECK(run(op::k_reverse, {kMatrix}, {.axes = {1}}) == Tensor64{3, 2, 1, 6, 5, 4});
  CHECK(run(op::k_reverse, {kMatrix}, {.axes = {0, 1}}) == Tensor64{6, 5, 4, 3, 2, 1});
}

TEST_CASE("Products agree for all four ways to store the operands") {
  // [1 2 3; 4 5 6] x [1 0; 2 1; 0 3]
  const Operand a = kMatrix, a_transposed = {f32({3, 2}), {1, 4, 2, 5, 3, 6}};
  const Operand b = {f32({3, 2}), {1, 0, 2, 1, 0, 3}};
  const Operand b_transposed = {f32({2, 3}), {1, 2, 0, 0, 1, 3}};
  const Tensor64 expected{5, 11, 14, 23};
  CHECK(run(op::k_dot, {a, b}) == expected);
  CHECK(run(op::k_dot, {a_transposed, b}, {.trans_a = true}) == expected);
  CHECK(run(op::k_dot, {a, b_transposed}, {.trans_b = true}) == expected);
  CHECK(run(op::k_dot, {a_transposed, b_transposed}, {.trans_a = true, .trans_b = true}) ==
        expected);
  const Operand z = {f32({2, 2}), {100, 0, 0, 100}};
  CHECK(run(op::k_dot_sum, {a, b_transposed, a_transposed, b, z}, {.axes = {2, 1}}) ==
        Tensor64{110, 22, 28, 146});
}

TEST_CASE("A packed factor is the matrix rounded to bf16, however it was stored") {
  Tensor64 matrix(32 * 32), transposed(32 * 32), rounded(32 * 32), row(32);
  for (std::size_t k = 0; k < 32; ++k) {
    row[k] = 1 + static_cast<double>(k) / 8;
    for (std::size_t n = 0; n < 32; ++n) {
      // Of 9 significant bits: the last is rounded away, ties to even.
      const double x = 1 + static_cast<double>((7 * k + 3 * n) % 256) / 256;
      matrix[32 * k + n] = transposed[32 * n + k] = x;
      rounded[32 * k + n] = std::nearbyint(x * 128) / 128;
    }
  }
  const Type square = f32({32, 32}), one = f32({1, 32});
  const Tensor64 expected = run(op::k_dot, {{one, row}, {square, rounded}});
  CHECK(expected != run(op::k_dot, {{one, row}, {square, matrix}}));
  for (const bool trans : {false, true}) {
    const Attrs attrs = pack_attrs(Side::right, trans);
    const Operand packed{op::k_pack_bf16.infer({&square, 1}, attrs),
                         run(op::k_pack_bf16, {{square, trans ? transposed : matrix}}, attrs)};
    CHECK(run(op::k_dot_sum, {{one, row}, packed}, {.axes = {kPairPackedB}}) == expected);
    CHECK(run(op::k_dot_sum, {{one, row}, packed, {one, row}, {square, rounded}},
              {.axes = {kPairPackedB, 0}}) ==
          run(op::k_dot_sum, {{one, row}, {square, rounded}, {one, row}, {square, rounded}},
              {.axes = {0, 0}}));
    const Attrs as_left = pack_attrs(Side::left, trans);
    const Operand left{op::k_pack_bf16.infer({&square, 1}, as_left),
                       run(op::k_pack_bf16, {{square, trans ? transposed : matrix}}, as_left)};
    const Operand column{f32({32, 1}), row};
    CHECK(run(op::k_dot_sum, {left, column}, {.axes = {kPairPackedA}}) ==
          run(op::k_dot, {{square, rounded}, column}));
  }
}

TEST_CASE("Leading axes of products are independent") {
  const Operand a = {f32({2, 1, 2}), {1, 2, 3, 4}};
  const Operand b = {f32({2, 2, 1}), {5, 6, 7, 8}};
  CHECK(run(op::k_dot, {a, b}) == Tensor64{17, 53});
}

TEST_CASE("Rows are gathered, scattered and marked by index") {
  const Operand table = {f32({3, 2}), {1, 2, 3, 4, 5, 6}};
  const Operand positions = {i32({4}), {2, 0, 2, 1}};
  CHECK(run(op::k_gather, {table, positions}) == Tensor64{5, 6, 1, 2, 5, 6, 3, 4});
  const Operand updates = {f32({4, 2}), {1, 2, 3, 4, 5, 6, 7, 8}};
  CHECK(run(op::k_scatter_add, {updates, positions}, {.value = 4}) ==
        Tensor64{3, 4, 7, 8, 6, 8, 0, 0});
  CHECK(run(op::k_one_hot, {{i32({2}), {1, 3}}}, {.value = 3}) == Tensor64{0, 1, 0, 0, 0, 0});
}

TEST_CASE("An index outside the table is an internal error") {
  const Operand table = {f32({3, 2}), {1, 2, 3, 4, 5, 6}};
  for (const double position : {-1.0, 3.0}) {
    CHECK_THROWS_AS(run(op::k_gather, {table, {i32({1}), {position}}}), InternalError);
    CHECK_THROWS_AS(run(op::k_scatter_add, {{f32({1}), {5}}, {i32({1}), {position}}}, {.value = 3}),
                    InternalError);
  }
}

TEST_CASE("A product costs 2 M N K flops per matrix of its leading axes") {
  const std::vector<Type> in{f32({3, 7, 5}), f32({3, 7, 4})};
  const Attrs attrs{.trans_a = true};
  const Cost cost = op::k_dot.cost(in, op::k_dot.infer(in, attrs), attrs);
  CHECK(cost.flop == 2 * 3 * 5 * 4 * 7);
  CHECK(cost.bytes_read == 4 * (3 * 7 * 5 + 3 * 7 * 4));
  CHECK(cost.bytes_written == 4 * 3 * 5 * 4);
}

TEST_CASE("Reductions cost one operation less per result than they read elements") {
  const std::vector<Type> in{f32({3, 5})};
  const Attrs attrs{.axes = {1}};
  CHECK(op::k_sum.cost(in, op::k_sum.infer(in, attrs), attrs).flop == 3 * 4);
}

std::string message_of(const OpDef& op, const std::vector<Type>& in, const Attrs& attrs = {}) {
  try {
    op.infer(in, attrs);
  } catch (const InternalError& error) {
    return error.what();
  }
  return "no error";
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("A shape rule says which op does not take which types") {
  CHECK(contains(message_of(op::k_dot, {f32({64, 128}), f32({256, 10})}),
                 "[dot] inner sizes differ: A [64,128], B [256,10]"));
  CHECK(contains(message_of(op::k_dot, {f32({64, 128}), f32({10, 12})}, {.trans_b = true}),
                 "[dot] inner sizes differ: A [64,128], B [10,12] transposed"));
  CHECK(contains(message_of(op::k_dot, {f32({2, 3, 4}), f32({5, 4, 3})}), "leading axes differ"));
  CHECK(contains(message_of(op::k_dot, {f32({3}), f32({3})}), "need two axes"));
  CHECK(contains(message_of(op::k_dot, {i32({3, 3}), i32({3, 3})}), "floating-point"));
  CHECK(contains(message_of(op::k_add, {f32({3}), f32({4})}),
                 "[add] operands have different types: f32[3], f32[4]"));
  CHECK(contains(message_of(op::k_add, {f32({3}), i32({3})}), "different types"));
  CHECK(contains(message_of(op::k_exp, {i32({3})}), "[exp] expected floating-point inputs"));
  CHECK(contains(message_of(op::k_mul, {f32({3})}), "[mul] expected 2 inputs"));
  CHECK(contains(message_of(op::k_gather, {f32({3}), f32({3})}), "[gather] the index is not i32"));
  CHECK(contains(message_of(op::k_one_hot, {f32({3})}), "[one_hot] the index is not i32"));
  CHECK(contains(message_of(op::k_logsumexp, {f32({})}), "[logsumexp] no last axis"));
}

TEST_CASE("Attributes that do not fit the operands are internal errors") {
  const std::vector<Type> x{f32({2, 3})};
  const auto fails = [&](const OpDef& op, const Attrs& attrs) {
    return contains(message_of(op, x, attrs), "[" + std::string(op.name) + "]");
  };
  CHECK(fails(op::k_reshape, {.shape = {7}}));
  CHECK(fails(op::k_transpose, {.axes = {0}}));
  CHECK(fails(op::k_transpose, {.axes = {0, 0}}));
  CHECK(fails(op::k_transpose, {.axes = {0, 2}}));
  CHECK(fails(op::k_broadcast, {.shape = {4, 3, 2}, .axes = {0}}));
  CHECK(fails(op::k_broadcast, {.shape = {2, 3, 4}, .axes = {3}}));
  CHECK(fails(op::k_sum, {.axes = {2}}));
  CHECK(fails(op::k_sum, {.axes = {1, 0}}));
  CHECK(fails(op::k_sum, {.axes = {1, 1}}));
  CHECK(fails(op::k_slice, {.axes = {2, 4}, .starts = {0, 0}}));
  CHECK(fails(op::k_slice, {.axes = {2, 1}, .starts = {0, 1}}));
  CHECK(fails(op::k_slice, {.axes = {2}, .starts = {0}}));
  CHECK(fails(op::k_pad, {.shape = {2, 3}, .starts = {0, 1}}));
  CHECK(fails(op::k_pad, {.shape = {3, 3}, .starts = {-1, 0}}));
  CHECK(fails(op::k_reverse, {.axes = {2}}));
  CHECK(fails(op::k_concat, {.axes = {2}}));
  CHECK(contains(message_of(op::k_concat, {f32({2, 3}), f32({3, 3})}, {.axes = {1}}), "[concat]"));
  CHECK(contains(message_of(op::k_concat, {f32({2, 3}), f32({2})}, {.axes = {0}}), "[concat]"));
  CHECK(contains(message_of(op::k_full, {}, {.value = 0.5, .dtype = DType::i32}), "[full]"));
  CHECK(contains(message_of(op::k_iota, {}, {.shape = {3}, .axes = {1}}), "[iota]"));
  const std::vector<Type> four{f32({2, 3}), f32({3, 2}), f32({2, 3}), f32({3, 4})};
  CHECK(contains(message_of(op::k_dot_sum, four, {.axes = {0, 0}}), "products differ in type"));
  CHECK(contains(message_of(op::k_dot_sum, four, {.axes = {0}}), "[dot_sum] flags for 1 pairs"));
  CHECK(contains(message_of(op::k_dot_sum, {f32({2, 3}), f32({3, 2})}, {.axes = {kPairPackedB}}),
                 "[dot_sum] operand 1 is not packed"));
  CHECK(contains(message_of(op::k_dot_sum, {f32({2, 3}), f32({3, 2})}, {.axes = {kPairPackedA}}),
                 "[dot_sum] operand 0 is not packed"));
  CHECK(contains(message_of(op::k_pack_bf16, {f32({32, 48})}, {}), "whole tiles"));
  CHECK(contains(message_of(op::k_pack_bf16, {f32({32})}, {}), "whole tiles"));
}

}  // namespace
}  // namespace mixflow
