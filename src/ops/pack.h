// A factor of products in bf16, packed once for all that read it (op pack_bf16): an i32 tensor of
// words, each two bf16, [.., N / 16, K / 32, 256] for N columns (or rows) of K terms
// (kernels/bf16_kernels.h). Made after all differentiation, by the pack_factors pass.
#pragma once

#include <cstdint>
#include <vector>

#include "graph/graph.h"

namespace mixflow {

// What dot_sum's `axes` say of a pair: A comes [.., K, M]; B comes [.., N, K]; A, B come packed.
inline constexpr std::int64_t kPairTransA = 1, kPairTransB = 2, kPairPackedA = 4, kPairPackedB = 8;

// Which factor a pack_bf16 is made for, and whether it is stored the other way round: [K, M] for a
// left factor, [N, K] for a right one.
enum class Side : std::uint8_t { left, right };
Attrs pack_attrs(Side side, bool trans);
Side side_of(const Attrs& attrs);

// Whether matrices of this type can be packed, for either side: f32, whole tiles.
bool can_be_packed(const Type& matrix);
bool is_packed_type(const Type& type);
// f32 [.., M, K] or [.., K, N], and the matrix itself, its values rounded.
Type unpacked_type(const Type& packed, Side side);
std::vector<double> unpack_bf16(const Type& packed, Side side, const double* words);

}  // namespace mixflow
