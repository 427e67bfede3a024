#include <doctest/doctest.h>

#include <array>
#include <bit>
#include <cmath>
#include <memory>
#include <string>

#include "../util/testing.h"
#include "kernels/bf16_pack.h"
#include "kernels/gemm.h"
#include "kernels/products.h"

namespace mixflow {
namespace {

using namespace testing;

// The definition: to the nearest, ties to even; NaN stays NaN. Upper half of the word.
std::uint32_t rounded_bits(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if (std::isnan(x)) return (bits | 0x00400000U) >> 16;
  const std::uint32_t below = bits & 0xFFFFU, half = 0x8000U;
  const bool up = below > half || (below == half && (bits >> 16 & 1U) != 0);
  return (bits >> 16) + (up ? 1U : 0U);
}

float rounded(float x) { return std::bit_cast<float>(rounded_bits(x) << 16); }

// Operands that bf16 holds exactly: then only the sums round, as in f32.
Operands exact_operands(const GemmShape& shape, Rng& rng) {
  Operands operands(shape, rng);
  for (std::size_t i = 0; i < 2 * shape.products.size(); ++i) {
    for (float& x : operands.values[i]) x = rounded(x);
  }
  return operands;
}

// The kernels of every kind of CPU that this one runs, also with threads that pack together where
// its own do not, or the other way round.
const std::vector<const Bf16Kernels*>& every_kind() {
  static const std::vector<Bf16Kernels> kOthers = [] {
    std::vector<Bf16Kernels> others;
    for (const Bf16Kernels* kernels : all_bf16_kernels()) {
      if (kernels->block == nullptr) continue;
      others.push_back(*kernels);
      others.back().packs_together = !kernels->packs_together;
      others.back().name = kernels->packs_together ? "packing apart" : "packing together";
    }
    return others;
  }();
  static const std::vector<const Bf16Kernels*> kAll = [] {
    std::vector<const Bf16Kernels*> all = all_bf16_kernels();
    for (const Bf16Kernels& other : kOthers) all.push_back(&other);
    return all;
  }();
  return kAll;
}

void check(GemmShape shape, Rng& rng) {
  shape.bf16 = true;
  const Operands operands = exact_operands(shape, rng);
  const std::vector<double> expected = reference(shape, operands);
  for (const Bf16Kernels* kernels : every_kind()) {
    shape.bf16_kernels = kernels;
    const std::string text = describe(shape);
    CAPTURE(text);
    const auto kernel = make_gemm(shape);
    const std::vector<float> c = run(*kernel, shape, operands, false);
    CHECK(all_close(c, expected, tolerance(shape)));
    if (shape.add_z) CHECK(run(*kernel, shape, operands, true) == c);
  }
}

TEST_CASE("Packing rounds every value to the nearest bf16 and puts it in its place") {
  Rng rng(1, Purpose::check, 20);
  for (const Bf16Kernels* kernels : every_kind()) {
    CAPTURE(kernels->name);
    for (const bool terms_contiguous : {false, true}) {
      constexpr std::int64_t kCount = 3, kNext = kBf16TileWords + 48;
      constexpr std::int64_t kVectors = kCount * kBf16Vectors;
      const std::int64_t rows = terms_contiguous ? kVectors : kBf16Terms;
      const std::int64_t ld = (terms_contiguous ? kBf16Terms : kVectors) + 3;
      std::vector<float> from = draw(rows * ld, rng);
      // Ties to either side, what carries into the exponent, and what is not finite.
      const float special[] = {1.00390625F,     1.01171875F,
                               1.9999999F,      3.3e38F,
                               -0.0F,           kInf,
                               -kInf,           std::nanf(""),
                               -std::nanf("1"), std::bit_cast<float>(0x7F800001U)};
      std::copy(std::begin(special), std::end(special), from.begin());
      for (const bool side_by_side : {false, true}) {
        Guarded to(((kCount - 1) * kNext + kBf16TileWords) * 4);
        kernels->pack(from.data(), ld, terms_contiguous, side_by_side, kCount,
                      to.as<std::uint32_t>(), kNext);
        CHECK(to.intact());
        int wrong = 0;
        for (std::int64_t v = 0; v < kVectors; ++v) {
          const std::uint32_t* tile = to.as<std::uint32_t>() + v / kBf16Vectors * kNext;
          const std::int64_t place = v % kBf16Vectors;
          for (std::int64_t k = 0; k < kBf16Terms; ++k) {
            const std::int64_t pair = k / 2;
            const std::uint32_t word =
                tile[side_by_side ? pair * kBf16Vectors + place : place * (kBf16Terms / 2) + pair];
            const std::uint32_t found = k % 2 == 0 ? word & 0xFFFFU : word >> 16;
            const float x =
                from[static_cast<std::size_t>(terms_contiguous ? v * ld + k : k * ld + v)];
            const bool same = std::isnan(x) ? std::isnan(std::bit_cast<float>(found << 16))
                                            : found == rounded_bits(x);
            wrong += same ? 0 : 1;
          }
        }
        CHECK(wrong == 0);
      }
    }
  }
}

TEST_CASE("Products in bf16 of every class of shape are the exact ones of rounded operands") {
  constexpr std::int64_t kSizes[] = {48, 49, 63, 64, 65, 96, 100, 127, 130};
  constexpr std::int64_t kDepths[] = {32, 33, 47, 64, 65, 100, 256, 511, 513};
  Rng rng(1, Purpose::check, 21);
  for (int sample = 0; sample < 40; ++sample) {
    GemmShape shape{.m = kSizes[rng.below(std::size(kSizes))],
                    .n = kSizes[rng.below(std::size(kSizes))]};
    shape.batch = rng.below(4) == 0 ? 3 : 1;
    shape.threads = 1 + static_cast<int>(rng.below(3));
    shape.add_z = rng.below(2) == 0;
    const std::uint64_t products = 1 + rng.below(3);
    for (std::uint64_t p = 0; p < products; ++p) {
      const Flags flags = kAllFlags[rng.below(4)];
      shape.products.push_back(
          {kDepths[rng.below(std::size(kDepths))], flags.trans_a, flags.trans_b});
    }
    for (const GemmProduct& product : shape.products)
      REQUIRE(gemm_takes_bf16(shape.m, shape.n, product.k));
    check(shape, rng);
  }
}

TEST_CASE("Products in bf16 beyond one chunk of rows, columns and terms") {
  Rng rng(1, Purpose::check, 22);
  for (const auto [trans_a, trans_b] : kAllFlags) {
    const auto with = [&](std::int64_t m, std::int64_t n, std::int64_t k, int threads) {
      check({.m = m,
             .n = n,
             .products = {{k, trans_a, trans_b}, {33, trans_b, trans_a}},
             .add_z = true,
             .threads = threads},
            rng);
    };
    with(1100, 48, 40, 2);   // rows
    with(48, 1100, 600, 2);  // columns and terms, with all of A packed
  }
  // All three, A packed for each chunk of columns.
  check({.m = 530, .n = 1040, .products = {{1030, false, true}}, .threads = 2}, rng);
  // Parts of several threads with all of A packed: of more than one chunk of columns, and one of
  // them just one chunk.
  for (const std::int64_t n : {2080, 2200}) {
    check({.m = 64, .n = n, .products = {{64}, {40, true, true}}, .add_z = true, .threads = 2},
          rng);
  }
}

TEST_CASE("Every kind of kernel rounds operands, packed before or not, to the nearest bf16") {
  Rng rng(1, Purpose::check, 25);
  for (const Bf16Kernels* kernels : every_kind()) {
    CAPTURE(kernels->name);
    for (const auto [trans_a, trans_b] : kAllFlags) {
      // Of one block of terms and of several.
      for (const std::int64_t size : {50, 230}) {
        GemmShape shape{.m = size, .n = size, .products = {{size, trans_a, trans_b}}};
        shape.bf16 = true;
        shape.bf16_kernels = kernels;
        Operands operands(shape, rng);
        const auto kernel = make_gemm(shape);
        const std::vector<float> c = run(*kernel, shape, operands, false);
        for (auto& values : operands.values) {
          for (float& x : values) x = rounded(x);
        }
        CHECK(run(*kernel, shape, operands, false) == c);
        CHECK(all_close(c, reference(shape, operands), tolerance(shape)));
      }
    }
  }
}

// Factors of a shape's products packed, as long as this lives.
class Packed {
 public:
  Packed(const GemmShape& from, Operands& operands) : shape(from), operands_(operands) {}

  void left(std::size_t p) {
    GemmProduct& product = shape.products[p];
    pack(2 * p, {.vectors = shape.m, .terms = product.k, .terms_contiguous = !product.trans_a});
    product.packed_a = true;
    product.trans_a = false;
  }
  void right(std::size_t p) {
    GemmProduct& product = shape.products[p];
    pack(2 * p + 1, {.vectors = shape.n,
                     .terms = product.k,
                     .terms_contiguous = product.trans_b,
                     .side_by_side = true});
    product.packed_b = true;
    product.trans_b = false;
  }

  GemmShape shape;

 private:
  void pack(std::size_t operand, Bf16PackShape pack) {
    pack.batch = shape.batch;
    pack.threads = shape.threads;
    pack.kernels = shape.bf16_kernels;
    Guarded& words = *words_.emplace_back(std::make_unique<Guarded>(
        pack.batch * bf16_words(pack.vectors, pack.terms) * std::int64_t{4}));
    std::byte* to = words.data();
    const auto kernel = make_bf16_pack(pack);
    CHECK(kernel->scratch_bytes == 0);
    kernel->run(&operands_.in[operand], &to, nullptr);
    CHECK(words.intact());
    operands_.in[operand] = to;
  }

  Operands& operands_;
  std::vector<std::unique_ptr<Guarded>> words_;
};

TEST_CASE("Products of packed factors have the bits of those that pack them themselves") {
  Rng rng(1, Purpose::check, 27);
  for (const Bf16Kernels* kernels : every_kind()) {
    CAPTURE(kernels->name);
    for (const auto [trans_a, trans_b] : kAllFlags) {
      // `which`: letters of the factors to pack, of two products.
      const auto with = [&](std::int64_t batch, std::int64_t m, std::int64_t n, std::int64_t k,
                            int threads, const std::string& which) {
        GemmShape shape{.batch = batch,
                        .m = m,
                        .n = n,
                        .products = {{k, trans_a, trans_b}, {64, trans_b, trans_a}},
                        .add_z = which.size() == 1,
                        .threads = threads};
        shape.bf16 = true;
        shape.bf16_kernels = kernels;
        Operands operands(shape, rng);
        const std::vector<float> expected = run(*make_gemm(shape), shape, operands, false);
        Packed packed(shape, operands);
        for (const char factor : which) {
          if (factor == 'a' || factor == 'A') packed.left(factor == 'A' ? 1 : 0);
          if (factor == 'b' || factor == 'B') packed.right(factor == 'B' ? 1 : 0);
        }
        const std::vector<float> found =
            run(*make_gemm(packed.shape), packed.shape, operands, false);
        CHECK(found == expected);
      };
      with(1, 50, 64, 96, 1, "bB");
      with(3, 70, 96, 64, 2, "b");
      with(1, 300, 224, 160, 3, "B");
      with(1, 96, 50, 64, 2, "aA");
      with(3, 64, 70, 96, 2, "a");
      with(1, 320, 250, 160, 3, "A");
      with(2, 64, 64, 96, 2, "aBA");
      if (!kThorough && trans_a != trans_b) continue;
      with(2, 96, 1056, 544, 2, "aB");  // beyond one chunk of columns and of terms
      with(2, 90, 1056, 544, 2, "bB");
      with(1, 544, 64, 1056, 2, "ab");
      with(1, 544, 70, 1056, 2, "aA");
    }
  }
}

TEST_CASE("Panels of any width take packed factors and batches that share a factor") {
  Rng rng(1, Purpose::check, 29);
  for (const GemmKernels* f32 : all_gemm_kernels()) {
    for (const Bf16Kernels* kernels : every_kind()) {
      // Those with blocks do not use the others' panels.
      const bool once = f32 == &gemm_kernels();
      if (kernels->block != nullptr ? !once : kernels != &portable_bf16_kernels()) continue;
      const auto with = [&](GemmShape shape, const std::string& which) {
        shape.bf16 = true;
        shape.kernels = f32;
        shape.bf16_kernels = kernels;
        const std::string text = describe(shape);
        CAPTURE(text);
        Operands operands = exact_operands(shape, rng);
        const std::vector<float> alone = run(*make_gemm(shape), shape, operands, false);
        CHECK(all_close(alone, reference(shape, operands), tolerance(shape)));
        for (const int threads : {2, 3}) {
          shape.threads = threads;
          CHECK(run(*make_gemm(shape), shape, operands, false) == alone);
        }
        if (which.empty()) return;
        Packed packed(shape, operands);
        if (which.find('a') != std::string::npos) packed.left(0);
        if (which.find('b') != std::string::npos) packed.right(0);
        CHECK(run(*make_gemm(packed.shape), packed.shape, operands, false) == alone);
      };
      for (const auto [trans_a, trans_b] : kAllFlags) {
        with({.m = 96, .n = 608, .products = {{288, trans_a, trans_b}}}, "ab");
        with({.batch = 2, .m = 64, .n = 96, .products = {{64, trans_a, trans_b}}}, "b");
        with({.batch = 3, .m = 70, .n = 96, .products = {{64, trans_a, trans_b, 0, -1}}}, "");
        with({.batch = 3, .m = 70, .n = 96, .products = {{64, trans_a, trans_b, -1, 0}}}, "");
      }
    }
  }
}

TEST_CASE("All of A stays packed until every thread has multiplied it, also in a batch") {
  Rng rng(1, Purpose::check, 28);
  for (const Bf16Kernels* kernels : every_kind()) {
    CAPTURE(kernels->name);
    GemmShape shape{.batch = 3, .m = 96, .n = 1120, .products = {{64}}};
    shape.bf16 = true;
    shape.bf16_kernels = kernels;
    Operands operands(shape, rng);
    const std::vector<float> expected = run(*make_gemm(shape), shape, operands, false);
    shape.threads = 2;  // where they pack together, each multiplies with what both have packed
    Packed packed(shape, operands);
    packed.right(0);
    const auto kernel = make_gemm(packed.shape);
    for (int repeat = 0; repeat < 20; ++repeat)
      CHECK(run(*kernel, packed.shape, operands, false) == expected);
  }
}

TEST_CASE("Unpacking gives the rounded values back") {
  Rng rng(1, Purpose::check, 26);
  const std::vector<float> matrix = draw(kBf16Terms * kBf16Vectors, rng);
  for (const Bf16Kernels* kernels : all_portable_bf16_kernels()) {
    CAPTURE(kernels->name);
    for (const bool columns : {true, false}) {
      const std::int64_t ld = columns ? kBf16Vectors : kBf16Terms;
      const std::int64_t rows = columns ? kBf16Terms : kBf16Vectors;
      Guarded tile(kBf16TileWords * 4);
      kernels->pack(matrix.data(), ld, !columns, columns, 1, tile.as<std::uint32_t>(), 0);
      const auto check = [&](std::int64_t first, std::int64_t count) {
        const std::int64_t ld_to = count + 5;
        Guarded back(((rows - 1) * ld_to + count) * 4);
        if (columns) {
          kernels->unpack_columns(tile.as<std::uint32_t>() + first, count, back.as<float>(), ld_to);
        } else {
          kernels->unpack_rows(tile.as<std::uint32_t>(), back.as<float>(), ld_to);
        }
        CHECK(back.intact());
        for (std::int64_t i = 0; i < rows; ++i) {
          for (std::int64_t j = 0; j < count; ++j) {
            const float expected = matrix[static_cast<std::size_t>(i * ld + first + j)];
            CHECK(back.as<float>()[i * ld_to + j] == rounded(expected));
          }
        }
      };
      check(0, ld);
      if (columns) {
        check(8, 8);
        check(3, 6);
      }
    }
  }
}

TEST_CASE("Threads share the work of a product in bf16 and give the bits of one thread") {
  Rng rng(1, Purpose::check, 23);
  for (const Bf16Kernels* kernels : every_kind()) {
    CAPTURE(kernels->name);
    for (const std::int64_t batch : {1, 3}) {
      GemmShape shape{.batch = batch,
                      .m = 150,
                      .n = 210,
                      .products = {{300, false, true}},
                      .add_z = true,
                      .bf16 = true};
      shape.bf16_kernels = kernels;
      const Operands operands = exact_operands(shape, rng);
      const std::vector<float> alone = run(*make_gemm(shape), shape, operands, false);
      for (const int threads : {2, 3}) {
        shape.threads = threads;
        CHECK(run(*make_gemm(shape), shape, operands, false) == alone);
      }
    }
  }
}

TEST_CASE("Operands are rounded where it pays, and only there") {
  Rng rng(1, Purpose::check, 24);
  for (const auto& [m, n, k] : {std::array{64, 64, 64}, std::array{10, 40, 40},
                                std::array{64, 64, 8}, std::array{40, 40, 64}}) {
    GemmShape shape{.m = m, .n = n, .products = {{k}}};
    const Operands operands(shape, rng);
    const std::vector<float> f32 = run(*make_gemm(shape), shape, operands, false);
    shape.bf16 = true;
    CHECK((run(*make_gemm(shape), shape, operands, false) != f32) == gemm_takes_bf16(m, n, k));
  }
  CHECK(gemm_takes_bf16(64, 64, 64));
  CHECK_FALSE(gemm_takes_bf16(10, 40, 40));
}

}  // namespace
}  // namespace mixflow
