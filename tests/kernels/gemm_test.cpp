#include "kernels/gemm.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "../util/testing.h"
#include "kernels/gemm_problem.h"
#include "kernels/products.h"
#include "util/rng.h"

namespace mixflow {
namespace {

using namespace testing;

void check_gemm(const GemmShape& shape, Rng& rng) {
  const std::string text = describe(shape);
  CAPTURE(text);
  const Operands operands(shape, rng);
  const auto kernel = make_gemm(shape);
  const std::vector<float> c = run(*kernel, shape, operands, false);
  CHECK(all_close(c, reference(shape, operands), tolerance(shape)));
  CHECK(run(*kernel, shape, operands, false) == c);
  if (shape.add_z) CHECK(run(*kernel, shape, operands, true) == c);
}

constexpr std::int64_t kSizes[] = {1, 2, 3, 7, 8, 15, 16, 17, 33, 40, 64, 65, 129};

TEST_CASE("Products of every class of shape agree with f64, for all flags and instruction sets") {
  Rng rng(1, Purpose::check, 0);
  const auto size = [&] { return kSizes[rng.below(std::size(kSizes))]; };
  for (const GemmKernels* kernels : all_gemm_kernels()) {
    for (int sample = 0; sample < 80; ++sample) {
      GemmShape shape{.m = size(), .n = size(), .kernels = kernels};
      shape.batch = rng.below(4) == 0 ? 3 : 1;
      shape.add_z = rng.below(2) == 0;
      const std::uint64_t products = 1 + rng.below(3);
      for (std::uint64_t p = 0; p < products; ++p) {
        const Flags flags = kAllFlags[rng.below(4)];
        shape.products.push_back({size(), flags.trans_a, flags.trans_b});
      }
      check_gemm(shape, rng);
    }
  }
}

TEST_CASE("Vectors and outer products agree with f64 for all flags") {
  Rng rng(1, Purpose::check, 1);
  for (const GemmKernels* kernels : all_gemm_kernels()) {
    for (const auto [trans_a, trans_b] : kAllFlags) {
      for (const std::int64_t other : {1, 5, 16, 41}) {
        for (const bool add_z : {false, true}) {
          const auto with = [&](std::int64_t m, std::int64_t n, std::int64_t k) {
            check_gemm({.batch = 2,
                        .m = m,
                        .n = n,
                        .products = {{k, trans_a, trans_b}},
                        .add_z = add_z,
                        .kernels = kernels},
                       rng);
          };
          with(1, other, 37);
          with(other, 1, 37);
          with(37, other, 1);
          with(1, 1, other);
          with(3, 300, 129);  // few rows of a large B: dot products if it comes transposed
        }
      }
    }
  }
}

TEST_CASE("Depths beyond one pass, many products and copied panels agree with f64") {
  Rng rng(1, Purpose::check, 2);
  for (const GemmKernels* kernels : all_gemm_kernels()) {
    for (const auto [trans_a, trans_b] : kAllFlags) {
      const GemmProduct deep{2500, trans_a, trans_b};
      const GemmProduct shallow{5, trans_b, trans_a};
      check_gemm({.m = 9, .n = 20, .products = {deep, shallow}, .kernels = kernels}, rng);
      check_gemm(
          {.m = 9, .n = 20, .products = {shallow, deep, deep}, .add_z = true, .kernels = kernels},
          rng);
      check_gemm({.m = 70,
                  .n = 512,
                  .products = {{33, trans_a, trans_b}},
                  .add_z = true,
                  .kernels = kernels},
                 rng);
    }
    GemmShape many{.m = 6, .n = 10, .kernels = kernels};
    for (std::int64_t k = 1; k <= 21; ++k) many.products.push_back({k, k % 2 == 0, k % 3 == 0});
    check_gemm(many, rng);
  }
}

TEST_CASE("Large products agree with f64, batched, accumulated and on several threads") {
  Rng rng(1, Purpose::check, 3);
  for (const auto [trans_a, trans_b] : kAllFlags) {
    for (const int threads : {1, 2, 3, 4}) {
      for (const std::int64_t batch : {1, 2, 3}) {
        GemmShape shape{.batch = batch,
                        .m = 131,
                        .n = 127,
                        .products = {{270, trans_a, trans_b}},
                        .threads = threads};
        REQUIRE_FALSE(gemm_is_small(shape.m, shape.n, 270));
        check_gemm(shape, rng);
        shape.add_z = true;
        shape.products.push_back({3, trans_b, trans_a});
        check_gemm(shape, rng);
      }
    }
    // Fewer parts than threads.
    check_gemm({.m = 11, .n = 70, .products = {{6000, trans_a, trans_b}}, .threads = 8}, rng);
  }
}

TEST_CASE("Products wider than the chunks that the library gets agree with f64") {
  Rng rng(1, Purpose::check, 8);
  constexpr std::int64_t kColumns = 4096;  // of a chunk
  for (const auto [trans_a, trans_b] : kAllFlags) {
    for (const std::int64_t n : {kColumns - 1, kColumns, kColumns + 1, 2 * kColumns + 37}) {
      GemmShape shape{.m = 11, .n = n, .products = {{97, trans_a, trans_b}}};
      REQUIRE_FALSE(gemm_is_small(shape.m, shape.n, 97));
      check_gemm(shape, rng);
      shape.threads = 2;
      shape.add_z = true;
      check_gemm(shape, rng);
    }
    // A batch whose entries threads share, and a second product that is added to the first.
    GemmShape shape{.batch = 2,
                    .m = 11,
                    .n = kColumns + 5,
                    .products = {{97, trans_a, trans_b}, {35, trans_b, trans_a}},
                    .add_z = true,
                    .threads = 2};
    check_gemm(shape, rng);
    shape.products[1].b_batch = 0;
    check_gemm(shape, rng);
  }
}

TEST_CASE("The parts of a product are each thread's at most once, and all of C") {
  for (const auto& [m, n] : {std::pair(96, 96), {1, 40}, {500, 33}, {33, 500}, {64, 2080}}) {
    for (int threads = 1; threads <= 9; ++threads) {
      for (const bool packed : {false, true}) {
        GemmProblem problem = normalise({.m = m, .n = n, .products = {{64}}, .threads = threads});
        problem.products[0].packed_a = packed;
        const std::vector<GemmPart> parts = parts_of(problem, 32);
        CHECK(parts.size() <= static_cast<std::size_t>(threads));
        std::vector<int> made(static_cast<std::size_t>(problem.size()));
        for (const GemmPart& part : parts) {
          for (std::int64_t i = part.row; i < part.row + part.rows; ++i) {
            for (std::int64_t j = part.column; j < part.column + part.columns; ++j)
              ++made[static_cast<std::size_t>(i * problem.n + j)];
          }
        }
        CHECK(std::ranges::count(made, 1) == problem.size());
      }
    }
  }
  // Seven threads on three by three blocks: two rows of three.
  CHECK(parts_of(normalise({.m = 96, .n = 96, .products = {{64}}, .threads = 7}), 32).size() == 6);
  // A transposed factor takes longer to pack: each thread packs its own part of it.
  const auto first_part = [](std::int64_t n, bool trans_a, bool trans_b) {
    return parts_of(
        normalise({.m = 512, .n = n, .products = {{2048, trans_a, trans_b}}, .threads = 2}), 16)[0];
  };
  CHECK(first_part(512, true, false).rows == 256);
  CHECK(first_part(480, false, true).columns == 240);
  // Where the left factor is not packed at all, each thread packs its part of the right one.
  const GemmProblem tall = normalise({.m = 1024, .n = 512, .products = {{2048}}, .threads = 2});
  CHECK(parts_of(tall, 16)[0].rows == 512);
  CHECK(parts_of(tall, 16, true)[0].columns == 256);
}

TEST_CASE("Large products by panels agree with f64 beyond every chunk, and threads change no bit") {
  Rng rng(1, Purpose::check, 9);
  int tables = 0;
  for (const GemmKernels* kernels : all_gemm_kernels()) {
    if (kernels->lanes >= 16) continue;  // the library's
    ++tables;
    for (const auto [trans_a, trans_b] : kAllFlags) {
      if (!kThorough && trans_a != trans_b) continue;
      const auto with = [&](std::int64_t batch, std::int64_t m, std::int64_t n, std::int64_t k) {
        GemmShape shape{.batch = batch,
                        .m = m,
                        .n = n,
                        .products = {{k, trans_a, trans_b}, {70, trans_b, trans_a}},
                        .kernels = kernels};
        for (const GemmProduct& product : shape.products)
          REQUIRE_FALSE(gemm_is_small(m, n, product.k));
        shape.add_z = batch == 1;
        const Operands operands(shape, rng);
        const std::vector<float> alone = run(*make_gemm(shape), shape, operands, false);
        CHECK(all_close(alone, reference(shape, operands), tolerance(shape)));
        for (const int threads : {2, 3, 4}) {
          shape.threads = threads;
          CHECK(run(*make_gemm(shape), shape, operands, false) == alone);
        }
      };
      with(1, 67, 1060, 70);   // columns, also of a part
      with(1, 190, 301, 523);  // rows and terms
      with(3, 110, 530, 259);  // columns and terms of a batch
      GemmShape shared{.batch = 3, .m = 67, .n = 90, .products = {{131, trans_a, trans_b, 0, -1}}};
      shared.kernels = kernels;
      check_gemm(shared, rng);
      shared.products = {{131, trans_a, trans_b, -1, 0}};
      shared.threads = 2;
      check_gemm(shared, rng);
    }
  }
  CHECK(tables > 0);
}

TEST_CASE("Products with long rows of both factors agree with f64, and threads change no bit") {
  Rng rng(1, Purpose::check, 10);
  for (const GemmKernels* kernels : all_gemm_kernels()) {
    for (const std::int64_t k : {1023, 1024, 1300}) {
      for (const bool add_z : {false, true}) {
        if (!kThorough && (k == 1300) != add_z) continue;
        GemmShape shape{.m = 97,
                        .n = 530,
                        .products = {{k, false, true}, {2000, false, true}},
                        .add_z = add_z,
                        .kernels = kernels};
        const Operands operands(shape, rng);
        const std::unique_ptr<Kernel> kernel = make_gemm(shape);
        // The library has no scratch of ours, panels have.
        if (kernels->lanes >= 16) CHECK((kernel->scratch_bytes > 0) == (k >= 1024));
        const std::vector<float> alone = run(*kernel, shape, operands, false);
        CHECK(all_close(alone, reference(shape, operands), tolerance(shape)));
        shape.threads = 3;
        if (k >= 1024) CHECK(run(*make_gemm(shape), shape, operands, false) == alone);
      }
    }
    // A batch that shares a factor, and one long product among others.
    check_gemm({.batch = 2,
                .m = 66,
                .n = 70,
                .products = {{1100, false, true, 0, -1}},
                .kernels = kernels},
               rng);
    check_gemm({.batch = 2,
                .m = 66,
                .n = 70,
                .products = {{1100, false, true, -1, 0}},
                .kernels = kernels},
               rng);
    check_gemm(
        {.m = 66, .n = 70, .products = {{1100, false, true}, {1100, true}}, .kernels = kernels},
        rng);
  }
}

TEST_CASE("Threads share batch entries or rows and give the bits of one thread") {
  Rng rng(1, Purpose::check, 4);
  for (const auto [trans_a, trans_b] : kAllFlags) {
    for (const std::int64_t batch : {1, 2, 5, 13}) {
      GemmShape shape{
          .batch = batch, .m = 211, .n = 100, .products = {{64, trans_a, trans_b}}, .add_z = true};
      const Operands operands(shape, rng);
      const std::vector<float> alone = run(*make_gemm(shape), shape, operands, false);
      for (const int threads : {2, 3}) {
        shape.threads = threads;
        check_gemm(shape, rng);
        CHECK(run(*make_gemm(shape), shape, operands, false) == alone);
      }
    }
  }
}

TEST_CASE("A batch may share a factor") {
  Rng rng(1, Purpose::check, 5);
  for (const auto [trans_a, trans_b] : kAllFlags) {
    for (const std::int64_t n : {1, 6}) {
      check_gemm({.batch = 4, .m = 5, .n = n, .products = {{7, trans_a, trans_b, -1, 0}}}, rng);
      check_gemm({.batch = 4, .m = 5, .n = n, .products = {{7, trans_a, trans_b, 0, -1}}}, rng);
    }
  }
}

TEST_CASE("Empty sizes: nothing is written, or the sum of no terms, which is Z or zero") {
  Rng rng(1, Purpose::check, 6);
  for (const bool add_z : {false, true}) {
    check_gemm({.batch = 0, .m = 3, .n = 4, .products = {{2}}, .add_z = add_z}, rng);
    check_gemm({.m = 0, .n = 4, .products = {{2}}, .add_z = add_z}, rng);
    check_gemm({.m = 3, .n = 0, .products = {{2}}, .add_z = add_z}, rng);
    check_gemm({.m = 3, .n = 4, .products = {{0}}, .add_z = add_z}, rng);
    check_gemm({.m = 3, .n = 4, .products = {{0}, {2, true, true}}, .add_z = add_z}, rng);
  }
}

TEST_CASE("Small shapes need scratch only to turn a transposed factor") {
  CHECK(make_gemm({.m = 10, .n = 40, .products = {{40}}})->scratch_bytes == 0);
  CHECK(make_gemm({.m = 40, .n = 40, .products = {{10, true, false}}})->scratch_bytes == 0);
  CHECK(make_gemm({.m = 1, .n = 40, .products = {{40, false, true}}})->scratch_bytes == 0);
  CHECK(make_gemm({.m = 10, .n = 40, .products = {{1, false, true}}})->scratch_bytes == 0);
  const std::int64_t turned =
      make_gemm({.m = 10, .n = 40, .products = {{40, false, true}}})->scratch_bytes;
  CHECK(turned >= 40 * 40 * 4);
  CHECK(turned <= 40 * 48 * 4);
}

TEST_CASE("A transposition moves every element and nothing else") {
  Rng rng(1, Purpose::check, 7);
  for (const GemmKernels* kernels : all_gemm_kernels()) {
    for (const std::int64_t rows : kSizes) {
      for (const std::int64_t cols : kSizes) {
        const std::vector<float> from = draw(rows * cols, rng);
        Guarded to(rows * cols * 4, 4);
        kernels->transpose(from.data(), cols, rows, cols, to.as<float>(), rows);
        CHECK(to.intact());
        bool equal = true;
        for (std::int64_t i = 0; i < rows; ++i) {
          for (std::int64_t j = 0; j < cols; ++j) {
            equal = equal &&
                    to.as<float>()[j * rows + i] == from[static_cast<std::size_t>(i * cols + j)];
          }
        }
        CAPTURE(kernels->target);
        CHECK(equal);
      }
    }
  }
}

}  // namespace
}  // namespace mixflow
