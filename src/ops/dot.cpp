// Matrix products over equal leading axes: C = op(A) op(B), where op transposes the last two axes
// if its flag is set.
#include <algorithm>
#include <array>

#include "kernels/team.h"
#include "ops/lower.h"
#include "ops/op_list.h"
#include "ops/pack.h"
#include "ops/rules.h"
#include "util/checked.h"
#include "util/index.h"

namespace mixflow::op {
namespace {

// One product: sizes of op(A) [M, K] and op(B) [K, N], and the strides that walk them in place.
struct Product {
  std::int64_t batch, m, n, k;
  std::int64_t a_row, a_column, b_row, b_column;
};

std::string describe(std::string_view op, std::string_view problem, const Type& a, const Type& b,
                     bool trans_a, bool trans_b) {
  return "[" + std::string(op) + "] " + std::string(problem) + ": A " + to_string(a.shape) +
         (trans_a ? " transposed" : "") + ", B " + to_string(b.shape) +
         (trans_b ? " transposed" : "");
}

Product product_of(const Type& a, const Type& b, bool trans_a, bool trans_b) {
  const std::size_t rank = a.shape.size();
  const std::int64_t rows_a = a.shape[rank - 2], columns_a = a.shape[rank - 1];
  const std::int64_t rows_b = b.shape[rank - 2], columns_b = b.shape[rank - 1];
  Product p{};
  p.batch = num_elements(Shape(a.shape.begin(), a.shape.end() - 2));
  p.m = trans_a ? columns_a : rows_a;
  p.k = trans_a ? rows_a : columns_a;
  p.n = trans_b ? rows_b : columns_b;
  p.a_row = trans_a ? 1 : columns_a;
  p.a_column = trans_a ? columns_a : 1;
  p.b_row = trans_b ? 1 : columns_b;
  p.b_column = trans_b ? columns_b : 1;
  return p;
}

Type infer_product(std::string_view op, const Type& a, const Type& b, bool trans_a, bool trans_b) {
  const auto check = [&](bool holds, std::string_view problem) {
    MIXFLOW_CHECK(holds, describe(op, problem, a, b, trans_a, trans_b));
  };
  check(is_float(a.dtype) && a.dtype == b.dtype, "operands need one floating-point type");
  check(a.rank() >= 2 && b.rank() >= 2, "operands need two axes");
  Type out{a.dtype, Shape(a.shape.begin(), a.shape.end() - 2)};
  check(out.shape == Shape(b.shape.begin(), b.shape.end() - 2), "leading axes differ");
  const Product p = product_of(a, b, trans_a, trans_b);
  const std::int64_t inner = trans_b ? b.shape.back() : b.shape[b.shape.size() - 2];
  check(p.k == inner, "inner sizes differ");
  out.shape.push_back(p.m);
  out.shape.push_back(p.n);
  return out;
}

constexpr std::int64_t kBlock = 64;
// Below this, waking the other threads costs more than they save.
constexpr std::int64_t kParallelTerms = 1'000'000;

// row[j] += sum over k of scales[k] * block[k, j]. Without the sanitizers: the caller has touched
// every element, and tests in float64 spend most of their time here.
__attribute__((no_sanitize("address", "undefined"))) void add_terms(const double* scales,
                                                                    std::int64_t terms,
                                                                    const double* block,
                                                                    std::int64_t columns,
                                                                    double* row) {
  for (std::int64_t k = 0; k < terms; ++k) {
    const double scale = scales[k];
    for (std::int64_t j = 0; j < columns; ++j) row[j] += scale * block[k * kBlock + j];
  }
}

// Rows of c += those of op(a) times op(b), which is read by blocks of kBlock × kBlock.
void accumulate_rows(const Product& p, const double* a, std::int64_t rows, const double* b,
                     double* c) {
  double block[kBlock * kBlock], scales[kBlock];
  for (std::int64_t j0 = 0; j0 < p.n; j0 += kBlock) {
    const std::int64_t columns = std::min(kBlock, p.n - j0);
    for (std::int64_t k0 = 0; k0 < p.k; k0 += kBlock) {
      const std::int64_t terms = std::min(kBlock, p.k - k0);
      for (std::int64_t k = 0; k < terms; ++k) {
        const double* from = b + (k0 + k) * p.b_row + j0 * p.b_column;
        for (std::int64_t j = 0; j < columns; ++j) block[k * kBlock + j] = from[j * p.b_column];
      }
      for (std::int64_t i = 0; i < rows; ++i) {
        const double* from = a + i * p.a_row + k0 * p.a_column;
        for (std::int64_t k = 0; k < terms; ++k) scales[k] = from[k * p.a_column];
        add_terms(scales, terms, block, columns, c + i * p.n + j0);
      }
    }
  }
}

// c += op(a) op(b). Each element's terms are added in the order of k, whatever the flags and the
// number of threads.
void accumulate(const Product& p, const double* a, const double* b, double* c, int threads) {
  const std::int64_t parts = (p.m + kBlock - 1) / kBlock;
  const bool large = p.batch * p.m * p.n * p.k > kParallelTerms;
  share_items(large ? threads : 1, p.batch * parts, [&](std::int64_t item, int) {
    const std::int64_t batch = item / parts, row = item % parts * kBlock;
    accumulate_rows(p, a + batch * p.m * p.k + row * p.a_row, std::min(kBlock, p.m - row),
                    b + batch * p.k * p.n, c + batch * p.m * p.n + row * p.n);
  });
}

std::int64_t flops(const Product& p) {
  return checked_product("FLOPs", {2, p.batch, p.m, p.n, p.k});
}

// The operands' types for a product of [M, K] and [K, N] over `leading` axes.
std::array<Type, 2> operand_types(Shape leading, std::int64_t m, std::int64_t n, std::int64_t k,
                                  bool trans_a, bool trans_b) {
  Shape a = leading, b = std::move(leading);
  for (const std::int64_t size : {trans_a ? k : m, trans_a ? m : k}) a.push_back(size);
  for (const std::int64_t size : {trans_b ? n : k, trans_b ? k : n}) b.push_back(size);
  return {Type{DType::f32, std::move(a)}, Type{DType::f32, std::move(b)}};
}

// y = op(A) op(B):  op(A)_bar = y_bar op(B)^T,  op(B)_bar = op(A)^T y_bar;  where A came
// transposed, the transpose of the product is the product of the transposes in the other order.
Id transpose_dot(Builder& b, const Call& call, int i, Id y_bar) {
  const bool trans_a = call.attrs.trans_a;
  const bool trans_b = call.attrs.trans_b;
  if (i == 0) {
    return trans_a ? b.dot(call.in[1], y_bar, trans_b, true)
                   : b.dot(y_bar, call.in[1], false, !trans_b);
  }
  return trans_b ? b.dot(y_bar, call.in[0], true, trans_a)
                 : b.dot(call.in[0], y_bar, !trans_a, false);
}

Id batch_dot(Builder& b, const Call& call, std::span<const Id> in, const std::vector<bool>& batched,
             std::int64_t n) {
  const bool trans_a = call.attrs.trans_a;
  const bool trans_b = call.attrs.trans_b;
  // Matrices: the builder makes the instances of A more rows where they share one B.
  const int rank = b.type(in[0]).rank() - (batched[0] ? 1 : 0);
  if (rank == 2) return b.dot(in[0], in[1], trans_a, trans_b);
  const Ids all = rules::with_leading(b, in, batched, n);
  return b.dot(all[0], all[1], trans_a, trans_b);
}

std::vector<Sample> dot_samples() {
  std::vector<Sample> samples;
  for (const bool trans_a : {false, true}) {
    for (const bool trans_b : {false, true}) {
      const auto add = [&](Shape leading, std::int64_t m, std::int64_t n, std::int64_t k) {
        const auto types = operand_types(std::move(leading), m, n, k, trans_a, trans_b);
        samples.push_back({.in = {types[0], types[1]}});
        samples.back().attrs.trans_a = trans_a;
        samples.back().attrs.trans_b = trans_b;
      };
      add({}, 1, 1, 1);
      add({}, 3, 5, 7);
      add({}, 5, 1, 9);
      add({}, 1, 6, 4);
      add({}, 4, 5, 1);
      add({}, 33, 17, 65);
      add({2}, 3, 5, 4);
      add({2, 3}, 2, 3, 5);
    }
  }
  return samples;
}

}  // namespace

// dot{trans_a, trans_b}   [.., M, K] x [.., K, N] -> [.., M, N];  A is [.., K, M] with trans_a, B
// [.., N, K] with trans_b
constinit const OpDef k_dot = {
    .name = "dot",
    .arity = 2,
    .infer =
        [](std::span<const Type> in, const Attrs& attrs) {
          rules::expect_inputs("dot", in, 2);
          return infer_product("dot", in[0], in[1], attrs.trans_a, attrs.trans_b);
        },
    .deriv = Bilinear{transpose_dot},
    .batch = batch_dot,
    .ref =
        [](const RefCall& call) {
          const Product p = product_of(call.in_types[0], call.in_types[1], call.attrs.trans_a,
                                       call.attrs.trans_b);
          std::fill_n(call.out, call.out_type.elements(), 0.0);
          accumulate(p, call.in[0], call.in[1], call.out, call.threads);
        },
    .lower = lower_dot,
    .cost =
        [](std::span<const Type> in, const Type& out, const Attrs& attrs) {
          const Product p = product_of(in[0], in[1], attrs.trans_a, attrs.trans_b);
          return rules::traffic(in, out, flops(p));
        },
    .samples = dot_samples,
};

namespace {

bool has(const Attrs& attrs, std::size_t pair, std::int64_t flag) {
  return (attrs.axes[pair] & flag) != 0;
}
bool pair_trans_a(const Attrs& attrs, std::size_t pair) { return has(attrs, pair, kPairTransA); }
bool pair_trans_b(const Attrs& attrs, std::size_t pair) { return has(attrs, pair, kPairTransB); }

bool is_packed(const Attrs& attrs, std::size_t pair, Side side) {
  return has(attrs, pair, side == Side::left ? kPairPackedA : kPairPackedB);
}

// A pair's factor as a matrix: one that was packed as it was.
Type pair_factor(std::span<const Type> in, const Attrs& attrs, std::size_t pair, Side side) {
  const Type& factor = in[2 * pair + (side == Side::left ? 0 : 1)];
  return is_packed(attrs, pair, side) ? unpacked_type(factor, side) : factor;
}

Product pair_product(std::span<const Type> in, const Attrs& attrs, std::size_t pair) {
  return product_of(pair_factor(in, attrs, pair, Side::left),
                    pair_factor(in, attrs, pair, Side::right), pair_trans_a(attrs, pair),
                    pair_trans_b(attrs, pair));
}

void accumulate_pair(const RefCall& call, std::size_t pair) {
  const Product product = pair_product(call.in_types, call.attrs, pair);
  std::array<std::vector<double>, 2> unpacked;
  std::array<const double*, 2> factors{};
  for (const Side side : {Side::left, Side::right}) {
    const auto s = static_cast<std::size_t>(side);
    factors[s] = call.in[2 * pair + s];
    if (!is_packed(call.attrs, pair, side)) continue;
    unpacked[s] = unpack_bf16(call.in_types[2 * pair + s], side, factors[s]);
    factors[s] = unpacked[s].data();
  }
  accumulate(product, factors[0], factors[1], call.out, call.threads);
}

Type infer_dot_sum(std::span<const Type> in, const Attrs& attrs) {
  const std::size_t pairs = in.size() / 2;
  MIXFLOW_CHECK(
      pairs >= 1 && attrs.axes.size() == pairs,
      rules::describe("dot_sum",
                      "flags for " + std::to_string(attrs.axes.size()) + " pairs, operands", in));
  Type out;
  for (std::size_t pair = 0; pair < pairs; ++pair) {
    for (const Side side : {Side::left, Side::right}) {
      const std::size_t i = 2 * pair + static_cast<std::size_t>(side);
      MIXFLOW_CHECK(
          !is_packed(attrs, pair, side) || is_packed_type(in[i]),
          rules::describe("dot_sum", "operand " + std::to_string(i) + " is not packed", in));
    }
    const Type one = infer_product("dot_sum", pair_factor(in, attrs, pair, Side::left),
                                   pair_factor(in, attrs, pair, Side::right),
                                   pair_trans_a(attrs, pair), pair_trans_b(attrs, pair));
    if (pair == 0) out = one;
    MIXFLOW_CHECK(one == out, rules::describe("dot_sum", "products differ in type", in));
  }
  MIXFLOW_CHECK(in.size() % 2 == 0 || in.back() == out,
                rules::describe("dot_sum", "the last operand is not of the result's type", in));
  return out;
}

std::vector<Sample> dot_sum_samples() {
  std::vector<Sample> samples;
  const auto add = [&](const Shape& leading, std::int64_t m, std::int64_t n, const Shape& inner,
                       const Shape& flags, bool with_z) {
    Sample sample;
    sample.attrs.axes = flags;
    for (std::size_t pair = 0; pair < flags.size(); ++pair) {
      for (const Type& type :
           operand_types(leading, m, n, inner[pair], pair_trans_a(sample.attrs, pair),
                         pair_trans_b(sample.attrs, pair))) {
        sample.in.push_back(type);
      }
    }
    if (with_z) {
      Type z{DType::f32, leading};
      z.shape.insert(z.shape.end(), {m, n});
      sample.in.push_back(std::move(z));
    }
    samples.push_back(std::move(sample));
  };
  add({}, 1, 1, {1}, {0}, true);
  add({}, 3, 5, {7}, {0}, false);
  add({}, 3, 5, {7}, {1}, true);
  add({}, 3, 5, {7, 4}, {0, 0}, false);
  add({}, 5, 5, {5, 5}, {2, 1}, true);
  add({}, 33, 17, {65, 9, 20}, {0, 3, 1}, true);
  add({2}, 3, 4, {5, 5}, {2, 0}, true);
  add({2, 3}, 2, 3, {5, 1}, {3, 2}, false);
  return samples;
}

}  // namespace

// dot_sum{axes[p] = flags of pair p, see pack.h}   (a0, b0, a1, b1, .., z if the count is odd)
//   y = op(a0) op(b0) + op(a1) op(b1) + .. (+ z)
// One destination for a tangent's two products and for what they are added to. Made after all
// differentiation.
constinit const OpDef k_dot_sum = {
    .name = "dot_sum",
    .arity = -1,
    .infer = infer_dot_sum,
    .deriv = Structural{},
    .batch = rules::batch_leading,
    .ref =
        [](const RefCall& call) {
          const std::int64_t n = call.out_type.elements();
          if (call.in.size() % 2 == 1) {
            std::copy_n(call.in.back(), n, call.out);
          } else {
            std::fill_n(call.out, n, 0.0);
          }
          for (std::size_t pair = 0; pair < call.in.size() / 2; ++pair) accumulate_pair(call, pair);
        },
    .lower = lower_dot_sum,
    // The additions of the products and of z are the products' own: each multiplication comes with
    // one.
    .cost =
        [](std::span<const Type> in, const Type& out, const Attrs& attrs) {
          std::int64_t flop = 0;
          for (std::size_t pair = 0; pair < in.size() / 2; ++pair) {
            flop = checked_sum("FLOPs", flop, flops(pair_product(in, attrs, pair)));
          }
          return rules::traffic(in, out, flop);
        },
    .may_overwrite = kOverwriteOddLast,
    .samples = dot_sum_samples,
};

}  // namespace mixflow::op
