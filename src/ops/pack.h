// The right factor of products in bf16, packed once for all that read it (op pack_bf16): an i32
// tensor of words, each two bf16, [.., N / 16, K / 32, 256] (kernels/bf16_kernels.h). Made after
// all differentiation, by the pack_factors pass.
#pragma once

#include <cstdint>
#include <vector>

#include "graph/graph.h"

namespace mixflow {

// What dot_sum's `axes` say of a pair: A comes [.., K, M]; B comes [.., N, K]; B comes packed.
inline constexpr std::int64_t kPairTransA = 1, kPairTransB = 2, kPairPackedB = 4;

// Whether matrices of this type can be packed, in either orientation: f32, whole tiles.
bool can_be_packed(const Type& matrix);
bool is_packed_type(const Type& type);
// f32 [.., K, N], and the matrix itself, its values rounded.
Type unpacked_type(const Type& packed);
std::vector<double> unpack_bf16(const Type& packed, const double* words);

}  // namespace mixflow
