#include "kernels/gemm.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>
#include <utility>

#include "kernels/code_memory.h"
#include "kernels/gemm_problem.h"
#include "kernels/onednn.h"
#include "kernels/team.h"
#include "util/error.h"

namespace mixflow {
namespace {

// Terms of one pass over C: a tile's rows of A (8 × kPassDepth floats) stay in the first-level
// cache, a panel of B (kPassDepth × 64) in the second.
constexpr std::int64_t kPassDepth = 1024;
constexpr int kPassSlices = 8;
// Below this, sharing the work costs more than it saves: about a microsecond, and for each byte of
// operands and result, half of which move from core to core, the time of some FLOPs.
constexpr std::int64_t kParallelFlop = 2'000'000;
constexpr std::int64_t kParallelFlopPerByte = 8;

// The library is as fast as our panels where it has AVX-512, a little faster where operands leave
// all caches. With AVX2 its speed falls to half where rows are whole pages apart.
constexpr int kLibraryLanes = 16;

// A·Bᵀ with rows of so many terms: packing B takes the library a tenth of the time there, our
// panels half of that (AVX-512 on Zen 4).
constexpr std::int64_t kLongRow = 1024;
bool has_long_rows(const GemmFactors& f) { return f.trans_b && !f.trans_a && f.k >= kLongRow; }

// The library packs all columns of B at once, into memory that no plan knows: tens of MiB where
// there are as many columns as a vocabulary has words.
constexpr std::int64_t kLibraryColumns = 4096;
constexpr std::int64_t kLibraryUnit = 16;  // parts meet at cache lines of C

const float* floats(const std::byte* p) { return reinterpret_cast<const float*>(p); }
float* floats(std::byte* p) { return reinterpret_cast<float*>(p); }

// --- our own kernels -----------------------------------------------------------------------------

class OwnGemm final : public Kernel {
 public:
  static std::unique_ptr<Kernel> make(GemmProblem problem) {
    std::vector<Slice> slices;
    std::vector<Pass> passes;
    const bool nt = use_dots(problem);
    std::int64_t panels = plan(problem, nt, slices, passes);
    int threads = 1;
    if (is_worth_sharing(problem)) threads = problem.threads;
    return std::unique_ptr<Kernel>(
        new OwnGemm(std::move(problem), nt, std::move(slices), std::move(passes), panels, threads));
  }

  void run(const std::byte* const* in, std::byte* const* out, std::byte* scratch) const override {
    share_items(threads_, problem_.batch * chunks_, [&](std::int64_t item, int thread) {
      const auto [first, last] = share_of(problem_.m, item % chunks_, chunks_);
      rows(in, out, item / chunks_, first, last, scratch + thread * thread_bytes_);
    });
  }

 private:
  // How a slice's B gets from memory to the kernel.
  enum class Feed { plain, copied, turned };
  struct Slice {
    GemmSlice strides;  // pointers null
    std::size_t a_input, b_input;
    std::int64_t a_batch, b_batch;
    std::int64_t a_offset, b_offset;
    std::int64_t a_step, b_step;  // from one repeat of its pass to the next
    std::int64_t b_ld;            // B's row stride in memory
    Feed feed;
    std::int64_t scratch_offset;  // of the panels, in floats
  };
  // Slices that are added up at once. A pass of one full slice repeats along its product's depth,
  // which may have millions of them.
  struct Pass {
    std::size_t first, count;
    std::int64_t repeats = 1;
  };

  OwnGemm(GemmProblem problem, bool nt, std::vector<Slice> slices, std::vector<Pass> passes,
          std::int64_t panel_floats, int threads)
      : Kernel(thread_bytes(panel_floats) * threads),
        problem_(std::move(problem)),
        slices_(std::move(slices)),
        passes_(std::move(passes)),
        nt_(nt),
        tiling_(problem_.kernels->tiling(problem_.m, problem_.n)),
        panel_columns_(problem_.kernels->panel_columns(problem_.n)),
        thread_bytes_(thread_bytes(panel_floats)),
        threads_(threads),
        chunks_(threads == 1 || problem_.by_batch() ? 1
                                                    : std::min<std::int64_t>(threads, problem_.m)) {
  }

  // A multiple of a cache line, and not of a page: threads' panels at equal page offsets would
  // share cache sets.
  static std::int64_t thread_bytes(std::int64_t panel_floats) {
    if (panel_floats == 0) return 0;
    const std::int64_t bytes = (panel_floats * 4 + 63) / 64 * 64;
    return bytes % 4096 == 0 ? bytes + 64 : bytes;
  }

  static bool is_worth_sharing(const GemmProblem& problem) {
    std::int64_t depth = 0;
    for (const GemmFactors& product : problem.products) depth += product.k;
    const std::int64_t results = problem.batch * problem.size();
    const std::int64_t operands = problem.batch * (problem.m + problem.n) * depth;
    const std::int64_t bytes = 4 * (operands + results * (problem.add_z ? 2 : 1));
    return 2 * results * depth > kParallelFlop + kParallelFlopPerByte * bytes;
  }

  // A·Bᵀ as dot products: measured faster than turning B for one row, and for few rows of a B that
  // leaves the first-level cache.
  static bool use_dots(const GemmProblem& problem) {
    return !problem.products.empty() &&
           std::ranges::all_of(problem.products, [&](const GemmFactors& product) {
             return product.trans_b && !product.trans_a &&
                    (problem.m == 1 || (problem.m <= 4 && product.k * problem.n >= 32768));
           });
  }

  // Cuts the products into slices and passes; returns the floats that the panels of one pass take.
  static std::int64_t plan(const GemmProblem& problem, bool nt, std::vector<Slice>& slices,
                           std::vector<Pass>& passes) {
    const std::int64_t width = problem.kernels->panel_columns(problem.n);
    const std::int64_t panels = (problem.n + width - 1) / width;
    std::int64_t room = 0;
    std::int64_t used = 0;
    std::int64_t most = 0;
    passes.push_back({0, 0});
    for (const GemmFactors& product : problem.products) {
      const std::int64_t full = product.k / kPassDepth;
      const std::int64_t first = std::max<std::int64_t>(full, 1) * kPassDepth;
      for (std::int64_t k0 = 0; k0 < product.k; k0 += first) {
        const std::int64_t k = std::min(kPassDepth, product.k - k0);
        if (passes.back().count == kPassSlices || (passes.back().count > 0 && k > room)) {
          passes.push_back({slices.size(), 0});
        }
        if (passes.back().count == 0) {
          room = kPassDepth;
          used = 0;
        }
        Slice s{};
        s.a_input = product.a_input;
        s.b_input = product.b_input;
        s.a_batch = product.a_batch;
        s.b_batch = product.b_batch;
        s.strides.k = k;
        s.strides.a_row = product.trans_a ? 1 : product.k;
        s.strides.a_col = product.trans_a ? problem.m : 1;
        s.a_offset = k0 * s.strides.a_col;
        s.a_step = kPassDepth * s.strides.a_col;
        s.b_step = product.trans_b ? kPassDepth : kPassDepth * problem.n;
        s.b_ld = product.trans_b ? product.k : problem.n;
        s.b_offset = product.trans_b ? k0 : k0 * problem.n;
        s.feed = nt || !product.trans_b ? feed_by_rows(problem, nt, k) : Feed::turned;
        if (s.feed == Feed::plain) {
          s.strides.b_row = s.b_ld;
          s.strides.b_panel = width;
        } else {
          s.strides.b_row = width;
          s.strides.b_panel = width * k;
          s.scratch_offset = used;
          used += panels * width * k;
        }
        room -= k;
        most = std::max(most, used);
        slices.push_back(s);
        ++passes.back().count;
        if (k == kPassDepth) passes.back().repeats = full;
      }
    }
    return most;
  }

  // Rows of B at a stride of many half-pages fall into few cache sets: worth a copy if it is read
  // often.
  static Feed feed_by_rows(const GemmProblem& problem, bool nt, std::int64_t k) {
    return !nt && problem.n % 512 == 0 && k > 16 && problem.m >= 64 ? Feed::copied : Feed::plain;
  }

  void rows(const std::byte* const* in, std::byte* const* out, std::int64_t b, std::int64_t first,
            std::int64_t last, std::byte* scratch) const {
    float* c = floats(out[0]) + b * problem_.size() + first * problem_.n;
    const float* z = problem_.add_z
                         ? floats(in[problem_.z_input]) + b * problem_.size() + first * problem_.n
                         : nullptr;
    const auto add = [&](const Pass& pass, std::int64_t repeat) {
      GemmSlice list[kPassSlices];
      for (std::size_t i = 0; i < pass.count; ++i) {
        const Slice& s = slices_[pass.first + i];
        list[i] = s.strides;
        list[i].a = floats(in[s.a_input]) + b * s.a_batch + s.a_offset + repeat * s.a_step +
                    first * s.strides.a_row;
        list[i].b = floats(in[s.b_input]) + b * s.b_batch + s.b_offset + repeat * s.b_step;
        if (s.feed != Feed::plain)
          list[i].b = fill_panels(s, list[i].b, floats(scratch) + s.scratch_offset);
      }
      const std::int64_t m = last - first, n = problem_.n;
      const int count = static_cast<int>(pass.count);
      if (nt_) {
        problem_.kernels->multiply_nt(list, count, m, n, z, n, c, n);
      } else if (m == problem_.m) {
        problem_.kernels->multiply_tiles(tiling_, list, count, z, n, c, n);
      } else {
        problem_.kernels->multiply(list, count, m, n, z, n, c, n);
      }
      z = c;
    };
    for (const Pass& pass : passes_) {
      for (std::int64_t repeat = 0; repeat < pass.repeats; ++repeat) add(pass, repeat);
    }
  }

  const float* fill_panels(const Slice& s, const float* from, float* to) const {
    for (std::int64_t col = 0, base = 0; col < problem_.n;
         col += panel_columns_, base += s.strides.b_panel) {
      const std::int64_t cols = std::min(panel_columns_, problem_.n - col);
      if (s.feed == Feed::turned) {
        problem_.kernels->transpose(from + col * s.b_ld, s.b_ld, cols, s.strides.k, to + base,
                                    panel_columns_);
      } else {
        for (std::int64_t k = 0; k < s.strides.k; ++k) {
          std::memcpy(to + base + k * panel_columns_, from + k * s.b_ld + col,
                      static_cast<std::size_t>(cols) * sizeof(float));
        }
      }
    }
    return to;
  }

  const GemmProblem problem_;
  const std::vector<Slice> slices_;
  const std::vector<Pass> passes_;
  const bool nt_;
  const GemmTiling tiling_;  // of all rows
  const std::int64_t panel_columns_;
  const std::int64_t thread_bytes_;
  const int threads_;
  const std::int64_t chunks_;  // of rows, per batch entry
};

// --- oneDNN --------------------------------------------------------------------------------------

// Each thread multiplies a part of C by itself: left to its own threads, the library cuts rows
// only, and all of them pack all of a transposed B.
class LibraryGemm final : public Kernel {
 public:
  explicit LibraryGemm(GemmProblem problem)
      : problem_(std::move(problem)), parts_(parts_of(problem_, kLibraryUnit)) {}

  void run(const std::byte* const* in, std::byte* const* out, std::byte*) const override {
    std::atomic<bool> failed = false;  // nothing may be thrown out of the region
    share_parts(problem_, parts_, [&](std::int64_t b, const GemmPart& part, int) {
      if (!multiply(in, out, b, part)) failed = true;
    });
    if (failed) throw std::bad_alloc();
  }

 private:
  // False if the library failed.
  bool multiply(const std::byte* const* in, std::byte* const* out, std::int64_t b,
                const GemmPart& part) const {
    const std::int64_t m = problem_.m, n = problem_.n;
    const std::int64_t first = b * problem_.size() + part.row * n + part.column;  // of C and Z
    float* c = floats(out[0]) + first;
    float beta = 0;
    if (problem_.add_z) {
      const float* z = floats(in[problem_.z_input]) + first;
      if (z != c) {
        for (std::int64_t i = 0; i < part.rows; ++i) {
          std::copy_n(z + i * n, part.columns, c + i * n);
        }
      }
      beta = 1;
    }
    for (const GemmFactors& p : problem_.products) {
      const std::int64_t lda = p.trans_a ? m : p.k, ldb = p.trans_b ? p.k : n;
      const float* left = floats(in[p.a_input]) + b * p.a_batch + part.row * (p.trans_a ? 1 : lda);
      const float* right =
          floats(in[p.b_input]) + b * p.b_batch + part.column * (p.trans_b ? ldb : 1);
      for (std::int64_t j = 0; j < part.columns; j += kLibraryColumns) {
        const std::int64_t columns = std::min(kLibraryColumns, part.columns - j);
        if (!sgemm(p.trans_a, p.trans_b, part.rows, columns, p.k, left, lda,
                   right + j * (p.trans_b ? ldb : 1), ldb, beta, c + j, n)) {
          return false;
        }
      }
      beta = 1;
    }
    return true;
  }

  const GemmProblem problem_;
  const std::vector<GemmPart> parts_;
};

// Nothing to multiply: C is Z or zero.
class NoProduct final : public Kernel {
 public:
  explicit NoProduct(GemmProblem problem) : problem_(std::move(problem)) {}

  void run(const std::byte* const* in, std::byte* const* out, std::byte*) const override {
    const std::size_t bytes =
        static_cast<std::size_t>(problem_.batch * problem_.size()) * sizeof(float);
    if (bytes == 0) return;
    if (!problem_.add_z) {
      std::memset(out[0], 0, bytes);
    } else if (in[problem_.z_input] != out[0]) {
      std::memcpy(out[0], in[problem_.z_input], bytes);
    }
  }

 private:
  const GemmProblem problem_;
};

}  // namespace

bool gemm_takes_bf16(std::int64_t m, std::int64_t n, std::int64_t k) {
  return m >= 32 && n >= 32 && k >= 32 && m * n >= 24 * (m + n);
}

bool gemm_is_small(std::int64_t m, std::int64_t n, std::int64_t k) {
  return k <= 64 || n <= 64 || m <= 8 || m * n * k < 4'000'000;
}

std::unique_ptr<Kernel> make_gemm(const GemmShape& shape) {
  MIXFLOW_CHECK(shape.batch >= 0 && shape.m >= 0 && shape.n >= 0, "gemm: negative size");
  GemmProblem problem = normalise(shape);
  if (problem.products.empty() || problem.batch * problem.size() == 0) {
    return std::make_unique<NoProduct>(std::move(problem));
  }
  const bool bf16 = shape.bf16 && std::ranges::all_of(problem.products, [&](const auto& product) {
                      return gemm_takes_bf16(problem.m, problem.n, product.k);
                    });
  MIXFLOW_CHECK(
      bf16 || std::ranges::none_of(problem.products,
                                   [](const GemmFactors& f) { return f.packed_a || f.packed_b; }),
      "gemm: packed operands of products that are not in bf16");
  if (bf16) {
    const Bf16Kernels& kernels =
        shape.bf16_kernels != nullptr ? *shape.bf16_kernels : bf16_kernels();
    if (kernels.block != nullptr) return make_bf16_gemm(std::move(problem), kernels);
    return make_panel_gemm(std::move(problem), &kernels);
  }
  const bool small = std::ranges::all_of(problem.products, [&](const GemmFactors& product) {
    return gemm_is_small(problem.m, problem.n, product.k);
  });
  if (small) return OwnGemm::make(std::move(problem));
  if (problem.kernels->lanes < kLibraryLanes || !code_memory_is_given() ||
      std::ranges::all_of(problem.products, has_long_rows))
    return make_panel_gemm(std::move(problem), nullptr);
  return std::make_unique<LibraryGemm>(std::move(problem));
}

}  // namespace mixflow
