// Rounding of f32 matrices to bf16 and packing into panels of tiles (bf16_kernels.h): what
// Bf16Kernels::block multiplies. A panel is 16 vectors, all its tiles of terms in a row.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "kernels/bf16_kernels.h"
#include "kernels/kernel.h"
#include "kernels/team.h"

namespace mixflow {

// A factor of a product as vectors (rows of A, columns of B) of terms.
struct Bf16Matrix {
  const float* data;
  std::ptrdiff_t ld;
  bool terms_contiguous;

  const float* at(std::int64_t vector, std::int64_t term) const {
    return terms_contiguous ? data + vector * ld + term : data + term * ld + vector;
  }
};

// Where panels lie: tiles of a panel follow each other, panels are `stride` words apart.
struct Bf16Panels {
  const std::uint32_t* data;
  std::int64_t stride;

  Bf16Panels from_vector(std::int64_t v) const {
    return {data + v / kBf16Vectors * stride, stride};
  }
};

constexpr std::int64_t bf16_tiles(std::int64_t terms) {
  return (terms + kBf16Terms - 1) / kBf16Terms;
}

// Words that so many vectors and terms take, an even number of panels of whole tiles.
constexpr std::int64_t bf16_words(std::int64_t vectors, std::int64_t terms) {
  const std::int64_t blocks = (vectors + kBf16Block - 1) / kBf16Block;
  return 2 * blocks * bf16_tiles(terms) * kBf16TileWords;
}

// The tile of a packed factor of k terms that holds a vector and a term.
constexpr const std::uint32_t* bf16_tile(const std::uint32_t* packed, std::int64_t k,
                                         std::int64_t vector, std::int64_t term) {
  return packed + (vector / kBf16Vectors * bf16_tiles(k) + term / kBf16Terms) * kBf16TileWords;
}

// Packs a share of vectors [vector, vector + vectors) and terms [term, term + terms) into `to`,
// where all shares go, and which has room for bf16_words of them. What is missing to whole tiles is
// zero; a last panel without vectors is not written.
Bf16Panels pack_bf16(const Bf16Kernels& kernels, const Bf16Matrix& matrix, std::int64_t vector,
                     std::int64_t vectors, std::int64_t term, std::int64_t terms, bool side_by_side,
                     std::uint32_t* to, Share share);

// A matrix that is a factor of more than one product, packed once for all of them.
struct Bf16PackShape {
  std::int64_t batch = 1;
  std::int64_t vectors = 0, terms = 0;  // multiples of 32
  bool terms_contiguous = false;        // [vectors, terms] in memory, else [terms, vectors]
  bool side_by_side = false;            // columns of a right factor, else rows of a left one
  int threads = 1;
  const Bf16Kernels* kernels = nullptr;  // for tests; null: the best for this CPU
};

// The output takes bf16_words(vectors, terms) for each entry of the batch.
std::unique_ptr<Kernel> make_bf16_pack(const Bf16PackShape& shape);

}  // namespace mixflow
