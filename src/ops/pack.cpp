#include "ops/pack.h"

#include <bit>
#include <cmath>

#include "kernels/bf16_kernels.h"
#include "ops/lower.h"
#include "ops/op_list.h"
#include "ops/rules.h"

namespace mixflow {
namespace {

// Sizes of [.., K, N] and strides of the matrix that becomes it.
struct Packing {
  std::int64_t batch, k, n;
  std::int64_t k_stride, n_stride;
};

Packing packing_of(const Type& matrix, bool trans) {
  const std::size_t rank = matrix.shape.size();
  const std::int64_t rows = matrix.shape[rank - 2], columns = matrix.shape[rank - 1];
  const std::int64_t batch = num_elements(Shape(matrix.shape.begin(), matrix.shape.end() - 2));
  return trans ? Packing{batch, columns, rows, 1, columns}
               : Packing{batch, rows, columns, columns, 1};
}

// The word that holds terms k and k + 1 (k even) of column n.
std::int64_t word_index(std::int64_t k, std::int64_t n, std::int64_t k_tiles) {
  const std::int64_t tile = n / kBf16Vectors * k_tiles + k / kBf16Terms;
  return tile * kBf16TileWords + k % kBf16Terms / 2 * kBf16Vectors + n % kBf16Vectors;
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

Type unpacked_type(const Type& packed) {
  Type matrix{DType::f32, Shape(packed.shape.begin(), packed.shape.end() - 3)};
  const std::size_t rank = packed.shape.size();
  matrix.shape.push_back(packed.shape[rank - 2] * kBf16Terms);
  matrix.shape.push_back(packed.shape[rank - 3] * kBf16Vectors);
  return matrix;
}

std::vector<double> unpack_bf16(const Type& packed, const double* words) {
  const Type type = unpacked_type(packed);
  const Packing p = packing_of(type, false);
  std::vector<double> matrix;
  for (std::int64_t b = 0; b < p.batch; ++b, words += p.k * p.n / 2) {
    for (std::int64_t k = 0; k < p.k; ++k) {
      for (std::int64_t n = 0; n < p.n; ++n) {
        const auto word = static_cast<std::uint32_t>(
            static_cast<std::int32_t>(words[word_index(k / 2 * 2, n, p.k / kBf16Terms)]));
        const std::uint32_t bits = k % 2 == 0 ? word << 16 : word & 0xFFFF0000U;
        matrix.push_back(static_cast<double>(std::bit_cast<float>(bits)));
      }
    }
  }
  return matrix;
}

namespace op {

// pack_bf16{trans_b}   [.., K, N] -> words [.., N / 16, K / 32, 256];  the input is [.., N, K] with
// trans_b
constinit const OpDef k_pack_bf16 = {
    .name = "pack_bf16",
    .infer =
        [](std::span<const Type> in, const Attrs& attrs) {
          rules::expect_inputs("pack_bf16", in, 1);
          MIXFLOW_CHECK(can_be_packed(in[0]),
                        rules::describe("pack_bf16", "not f32 in whole tiles of 32 x 32", in));
          const Packing p = packing_of(in[0], attrs.trans_b);
          Type out{DType::i32, Shape(in[0].shape.begin(), in[0].shape.end() - 2)};
          out.shape.insert(out.shape.end(), {p.n / kBf16Vectors, p.k / kBf16Terms, kBf16TileWords});
          return out;
        },
    .deriv = Structural{},
    .batch = rules::batch_leading,
    .ref =
        [](const RefCall& call) {
          const Packing p = packing_of(call.in_types[0], call.attrs.trans_b);
          for (std::int64_t b = 0; b < p.batch; ++b) {
            const double* from = call.in[0] + b * p.k * p.n;
            double* to = call.out + b * p.k * p.n / 2;
            for (std::int64_t k = 0; k < p.k; k += 2) {
              for (std::int64_t n = 0; n < p.n; ++n) {
                const double* pair = from + k * p.k_stride + n * p.n_stride;
                const std::uint32_t word = rounded_bits(pair[0]) | rounded_bits(pair[p.k_stride])
                                                                       << 16;
                to[word_index(k, n, p.k / kBf16Terms)] = static_cast<std::int32_t>(word);
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
          for (const bool trans : {false, true}) {
            for (const Shape& shape : {Shape{32, 32}, Shape{96, 64}, Shape{2, 64, 160}}) {
              samples.push_back(rules::sample_of(shape, [&](Attrs& a) { a.trans_b = trans; }));
            }
          }
          return samples;
        },
};

}  // namespace op
}  // namespace mixflow
