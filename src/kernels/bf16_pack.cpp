#include "kernels/bf16_pack.h"

#include <algorithm>
#include <cstring>

#include "util/error.h"

namespace mixflow {
namespace {

// Vectors that are packed together where terms are far apart.
constexpr std::int64_t kGroup = 8 * kBf16Vectors;

// Packs tiles of the same terms.
class TilePacker {
 public:
  TilePacker(const Bf16Kernels& kernels, const Bf16Matrix& matrix, bool side_by_side,
             std::ptrdiff_t next)
      : kernels_(kernels), matrix_(matrix), side_by_side_(side_by_side), next_(next) {}

  void pack(std::int64_t vector, std::int64_t vectors, std::int64_t term, std::int64_t terms,
            std::uint32_t* to) const {
    const std::int64_t whole = terms == kBf16Terms ? vectors / kBf16Vectors : 0;
    if (whole > 0) {
      kernels_.pack(matrix_.at(vector, term), matrix_.ld, matrix_.terms_contiguous, side_by_side_,
                    whole, to, next_);
    }
    for (std::int64_t v = whole * kBf16Vectors; v < vectors; v += kBf16Vectors) {
      pack_padded(vector + v, std::min(kBf16Vectors, vectors - v), term, terms,
                  to + v / kBf16Vectors * next_);
    }
  }

 private:
  void pack_padded(std::int64_t vector, std::int64_t vectors, std::int64_t term, std::int64_t terms,
                   std::uint32_t* to) const {
    const bool contiguous = matrix_.terms_contiguous;
    const float* from = matrix_.at(vector, term);
    alignas(64) float padded[kBf16Vectors * kBf16Terms] = {};
    const std::int64_t rows = contiguous ? vectors : terms;
    const std::int64_t length = contiguous ? terms : vectors;
    const std::int64_t ld = contiguous ? kBf16Terms : kBf16Vectors;
    for (std::int64_t i = 0; i < rows; ++i)
      std::memcpy(padded + i * ld, from + i * matrix_.ld,
                  static_cast<std::size_t>(length) * sizeof(float));
    kernels_.pack(padded, ld, contiguous, side_by_side_, 1, to, 0);
  }

  const Bf16Kernels& kernels_;
  const Bf16Matrix& matrix_;
  const bool side_by_side_;
  const std::ptrdiff_t next_;
};

class Bf16Pack final : public Kernel {
 public:
  explicit Bf16Pack(const Bf16PackShape& shape)
      : shape_(shape), kernels_(shape.kernels != nullptr ? *shape.kernels : bf16_kernels()) {}

  void run(const std::byte* const* in, std::byte* const* out, std::byte*) const override {
    const auto* from = reinterpret_cast<const float*>(in[0]);
    auto* to = reinterpret_cast<std::uint32_t*>(out[0]);
    run_parts(shape_.threads, [&](int index) { pack(from, to, {index, shape_.threads}); });
  }

 private:
  void pack(const float* from, std::uint32_t* to, Share share) const {
    const std::int64_t vectors = shape_.vectors, terms = shape_.terms;
    for (std::int64_t b = 0; b < shape_.batch; ++b) {
      const Bf16Matrix matrix{from + b * vectors * terms, shape_.terms_contiguous ? terms : vectors,
                              shape_.terms_contiguous};
      pack_bf16(kernels_, matrix, 0, vectors, 0, terms, shape_.side_by_side,
                to + b * bf16_words(vectors, terms), share);
    }
  }

  const Bf16PackShape shape_;
  const Bf16Kernels& kernels_;
};

}  // namespace

Bf16Panels pack_bf16(const Bf16Kernels& kernels, const Bf16Matrix& matrix, std::int64_t vector,
                     std::int64_t vectors, std::int64_t term, std::int64_t terms, bool side_by_side,
                     std::uint32_t* to, Share share) {
  const std::int64_t tiles = bf16_tiles(terms), panel = tiles * kBf16TileWords;
  const bool contiguous = matrix.terms_contiguous;
  const TilePacker packer(kernels, matrix, side_by_side, panel);
  const std::int64_t size = contiguous ? kBf16Vectors : kGroup;
  const std::int64_t groups = (vectors + size - 1) / size;
  const auto [first, last] = share.of(groups * tiles);
  for (std::int64_t item = first; item < last; ++item) {
    // In the order of memory.
    const std::int64_t group = contiguous ? item / tiles : item % groups;
    const std::int64_t tile = contiguous ? item % tiles : item / groups;
    const std::int64_t v = group * size, t = tile * kBf16Terms;
    packer.pack(vector + v, std::min(size, vectors - v), term + t, std::min(kBf16Terms, terms - t),
                to + v / kBf16Vectors * panel + tile * kBf16TileWords);
  }
  return {to, panel};
}

std::unique_ptr<Kernel> make_bf16_pack(const Bf16PackShape& shape) {
  MIXFLOW_CHECK(shape.vectors % kBf16Block == 0 && shape.terms % kBf16Terms == 0,
                "bf16 pack: tiles are not whole");
  return std::make_unique<Bf16Pack>(shape);
}

}  // namespace mixflow
