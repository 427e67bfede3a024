#include "ops/pack.h"

#include <bit>
#include <cmath>

#include "kernels/bf16_kernels.h"
#include "ops/lower.h"
#include "ops/op_list.h"
#include "ops/rules.h"

namespace mixflow {
namespace {

// A matrix as vectors (rows of a left factor, columns of a right one) of terms, and the strides
// that walk it.
struct Packing {
  std::int64_t batch, vectors, terms;
  std::int64_t vector_stride, term_stride;
  bool side_by_side;

  // The word that holds terms k and k + 1 (k even) of vector v.
  std::int64_t word(std::int64_t v, std::int64_t k) const {
    const std::int64_t tile = v / kBf16Vectors * (terms / kBf16Terms) + k / kBf16Terms;
    const std::int64_t place = v % kBf16Vectors, pair = k % kBf16Terms / 2;
    return tile * kBf16TileWords +
           (side_by_side ? pair * kBf16Vectors + place : place * (kBf16Terms / 2) + pair);
  }
};

Packing packing_of(const Type& matrix, Side side, bool trans) {
  const std::size_t rank = matrix.shape.size();
  const std::int64_t rows = matrix.shape[rank - 2], columns = matrix.shape[rank - 1];
  const std::int64_t batch = num_elements(Shape(matrix.shape.begin(), matrix.shape.end() - 2));
  const bool right = side == Side::right;
  return right == trans ? Packing{batch, rows, columns, columns, 1, right}
                        : Packing{batch, columns, rows, 1, columns, right};
}

Packing packing_of(const Type& matrix, const Attrs& attrs) {
  return packing_of(matrix, side_of(attrs), attrs.trans_a || attrs.trans_b);
}

// To the nearest, ties to even; NaN stays NaN.
std::uint32_t rounded_bits(double x) {
  const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(x));
  if (std::isnan(x)) return bits >> 16 | 0x40U;
  return (bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16;
}

}  // namespace

bool can_be_packed(const Type& matrix) {
  const auto whole = [](std::int64_t size) {
    return size > 0 && size % kBf16Block == 0 && size % kBf16Terms == 0;
  };
  return matrix.dtype == DType::f32 && matrix.rank() >= 2 && whole(matrix.shape.back()) &&
         whole(matrix.shape[matrix.shape.size() - 2]);
}

bool is_packed_type(const Type& type) {
  return type.dtype == DType::i32 && type.rank() >= 3 && type.shape.back() == kBf16TileWords;
}

Attrs pack_attrs(Side side, bool trans) {
  Attrs attrs;
  attrs.axes = {side == Side::left ? 0 : 1};
  attrs.trans_a = side == Side::left && trans;
  attrs.trans_b = side == Side::right && trans;
  return attrs;
}

Side side_of(const Attrs& attrs) { return attrs.axes == Shape{0} ? Side::left : Side::right; }

Type unpacked_type(const Type& packed, Side side) {
  Type matrix{DType::f32, Shape(packed.shape.begin(), packed.shape.end() - 3)};
  const std::size_t rank = packed.shape.size();
  const std::int64_t terms = packed.shape[rank - 2] * kBf16Terms;
  const std::int64_t vectors = packed.shape[rank - 3] * kBf16Vectors;
  matrix.shape.push_back(side == Side::left ? vectors : terms);
  matrix.shape.push_back(side == Side::left ? terms : vectors);
  return matrix;
}

std::vector<double> unpack_bf16(const Type& packed, Side side, const double* words) {
  const Type type = unpacked_type(packed, side);
  const Packing p = packing_of(type, side, false);
  std::vector<double> matrix(static_cast<std::size_t>(type.elements()));
  double* to = matrix.data();
  for (std::int64_t b = 0; b < p.batch; ++b) {
    for (std::int64_t v = 0; v < p.vectors; ++v) {
      for (std::int64_t k = 0; k < p.terms; ++k) {
        const auto word =
            static_cast<std::uint32_t>(static_cast<std::int32_t>(words[p.word(v, k / 2 * 2)]));
        const std::uint32_t bits = k % 2 == 0 ? word << 16 : word & 0xFFFF0000U;
        to[v * p.vector_stride + k * p.term_stride] =
            static_cast<double>(std::bit_cast<float>(bits));
      }
    }
    to += p.vectors * p.terms;
    words += p.vectors * p.terms / 2;
  }
  return matrix;
}

namespace op {

// pack_bf16{axes = {1}, trans_b}   [.., K, N] -> words [.., N / 16, K / 32, 256], a right factor
// pack_bf16{axes = {0}, trans_a}   [.., M, K] -> words [.., M / 16, K / 32, 256], a left one
// The input comes the other way round with trans_b, trans_a.
constinit const OpDef k_pack_bf16 = {
    .name = "pack_bf16",
    .infer =
        [](std::span<const Type> in, const Attrs& attrs) {
          rules::expect_inputs("pack_bf16", in, 1);
          MIXFLOW_CHECK(can_be_packed(in[0]),
                        rules::describe("pack_bf16", "not f32 in whole tiles of 32 x 32", in));
          const Packing p = packing_of(in[0], attrs);
          Type out{DType::i32, Shape(in[0].shape.begin(), in[0].shape.end() - 2)};
          out.shape.insert(out.shape.end(),
                           {p.vectors / kBf16Vectors, p.terms / kBf16Terms, kBf16TileWords});
          return out;
        },
    .deriv = Structural{},
    .batch = rules::batch_leading,
    .ref =
        [](const RefCall& call) {
          const Packing p = packing_of(call.in_types[0], call.attrs);
          for (std::int64_t b = 0; b < p.batch; ++b) {
            const double* from = call.in[0] + b * p.vectors * p.terms;
            double* to = call.out + b * p.vectors * p.terms / 2;
            for (std::int64_t v = 0; v < p.vectors; ++v) {
              for (std::int64_t k = 0; k < p.terms; k += 2) {
                const double* pair = from + v * p.vector_stride + k * p.term_stride;
                const std::uint32_t word = rounded_bits(pair[0]) | rounded_bits(pair[p.term_stride])
                                                                       << 16;
                to[p.word(v, k)] = static_cast<std::int32_t>(word);
              }
            }
          }
        },
    .lower = lower_pack_bf16,
    .cost = [](std::span<const Type> in, const Type& out,
               const Attrs&) { return rules::traffic(in, out, 0); },
    .samples =
        [] {
          std::vector<Sample> samples;
          for (const Side side : {Side::left, Side::right}) {
            for (const bool trans : {false, true}) {
              for (const Shape& shape : {Shape{32, 32}, Shape{96, 64}, Shape{2, 64, 160}}) {
                samples.push_back(
                    rules::sample_of(shape, [&](Attrs& a) { a = pack_attrs(side, trans); }));
              }
            }
          }
          return samples;
        },
};

}  // namespace op
}  // namespace mixflow
