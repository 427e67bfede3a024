// Large products by our own f32 kernels: operands are copied into panels that stay in caches. Each
// thread makes a part of C from panels of its own: a chunk of B for the second-level cache, and
// rows of A that are multiplied with all its columns. Rows of A that lie as the kernels read them
// stay where they are.
//
// In bf16 on CPUs without instructions for it, operands are rounded on their way into panels. That
// is as exact as the products of other CPUs: the product of two bf16 is exact in f32, and sums are
// in f32 everywhere.
#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/bf16_pack.h"
#include "kernels/gemm_problem.h"
#include "kernels/team.h"

namespace mixflow {
namespace {

// Of one chunk: 512 KiB of B, and 64 KiB of A.
constexpr std::int64_t kTerms = 256;
constexpr std::int64_t kColumns = 512;
constexpr std::int64_t kRows = 64;
// Of B, copied into all panels of a chunk.
constexpr std::int64_t kRowsOfB = 8;

const float* floats(const std::byte* p) { return reinterpret_cast<const float*>(p); }
const std::uint32_t* words(const std::byte* p) { return reinterpret_cast<const std::uint32_t*>(p); }

class PanelGemm final : public Kernel {
 public:
  PanelGemm(GemmProblem problem, std::vector<GemmPart> parts, const Bf16Kernels* rounding)
      : Kernel(4 * problem.threads * thread_floats(problem, parts, rounding)),
        problem_(std::move(problem)),
        parts_(std::move(parts)),
        rounding_(rounding),
        thread_floats_(thread_floats(problem_, parts_, rounding)) {}

  void run(const std::byte* const* in, std::byte* const* out, std::byte* scratch) const override {
    auto* memory = reinterpret_cast<float*>(scratch);
    share_parts(problem_, parts_, [&](std::int64_t b, const GemmPart& part, int thread) {
      multiply(in, out, b, part, memory + thread * thread_floats_);
    });
  }

 private:
  // Terms of one product of one batch entry.
  struct Terms {
    const GemmFactors& factors;
    std::int64_t batch, first, count;
  };

  static std::int64_t longest(const GemmProblem& problem) {
    std::int64_t terms = 0;
    for (const GemmFactors& f : problem.products) terms = std::max(terms, f.k);
    return std::min(terms, kTerms);
  }
  // Whether the kernels read rows of A where they are.
  static bool in_place(const GemmFactors& f, const Bf16Kernels* rounding) {
    return rounding == nullptr && !f.trans_a;
  }
  // Of a chunk: all columns of a part, or whole panels.
  static std::int64_t chunk_columns(const GemmProblem& problem, const GemmPart& part) {
    const std::int64_t width = problem.kernels->panel_columns(part.columns);
    return std::min(part.columns, kColumns / width * width);
  }
  static std::int64_t b_floats(const GemmProblem& problem, const GemmPart& part) {
    const std::int64_t columns = chunk_columns(problem, part);
    const std::int64_t width = problem.kernels->panel_columns(columns);
    return (columns + width - 1) / width * width * longest(problem);
  }
  // A chunk of B and the rows of A behind it, if any are copied, of the largest part; to whole
  // cache lines.
  static std::int64_t thread_floats(const GemmProblem& problem, const std::vector<GemmPart>& parts,
                                    const Bf16Kernels* rounding) {
    const bool copies_a = !std::ranges::all_of(
        problem.products, [&](const GemmFactors& f) { return in_place(f, rounding); });
    std::int64_t most = 0;
    for (const GemmPart& part : parts) {
      const std::int64_t rows = copies_a ? std::min(part.rows, kRows) : 0;
      most = std::max(most, b_floats(problem, part) + rows * longest(problem));
    }
    return (most + 15) / 16 * 16;
  }

  void multiply(const std::byte* const* in, std::byte* const* out, std::int64_t batch,
                const GemmPart& part, float* scratch) const {
    const std::int64_t n = problem_.n, step = chunk_columns(problem_, part);
    float* c = reinterpret_cast<float*>(out[0]) + batch * problem_.size();
    const float* z =
        problem_.add_z ? floats(in[problem_.z_input]) + batch * problem_.size() : nullptr;
    float* a = scratch + b_floats(problem_, part);
    for (std::int64_t j = 0; j < part.columns; j += step) {
      const std::int64_t column = part.column + j, columns = std::min(step, part.columns - j);
      const std::int64_t width = problem_.kernels->panel_columns(columns);
      const float* sums = z;
      for (const GemmFactors& f : problem_.products) {
        for (std::int64_t k = 0; k < f.k; k += kTerms) {
          const Terms terms{f, batch, k, std::min(kTerms, f.k - k)};
          pack_b(in, terms, column, columns, scratch, width);
          const std::int64_t most = in_place(f, rounding_) ? part.rows : kRows;
          for (std::int64_t i = 0; i < part.rows; i += most) {
            const std::int64_t row = part.row + i, rows = std::min(most, part.rows - i);
            GemmSlice slice = rows_of_a(in, terms, row, rows, a);
            slice.b = scratch;
            slice.b_row = width;
            slice.b_panel = width * terms.count;
            slice.k = terms.count;
            const std::int64_t at = row * n + column;
            problem_.kernels->multiply(&slice, 1, rows, columns,
                                       sums != nullptr ? sums + at : nullptr, n, c + at, n);
          }
          sums = c;
        }
      }
    }
  }

  // Rows of A: where they are, or copied, dense as they are stored.
  GemmSlice rows_of_a(const std::byte* const* in, const Terms& terms, std::int64_t row,
                      std::int64_t rows, float* to) const {
    const auto& [f, batch, first, count] = terms;
    if (in_place(f, rounding_)) {
      return {.a = floats(in[f.a_input]) + batch * f.a_batch + row * f.k + first,
              .a_row = f.k,
              .a_col = 1};
    }
    GemmSlice slice{.a = to, .a_row = count, .a_col = 1};
    if (f.packed_a) {
      const std::uint32_t* tiles = words(in[f.a_input]) + batch * f.a_batch;
      for (std::int64_t i = 0; i < rows; i += kBf16Vectors) {
        for (std::int64_t k = 0; k < count; k += kBf16Terms)
          rounding_->unpack_rows(bf16_tile(tiles, f.k, row + i, first + k), to + i * count + k,
                                 count);
      }
      return slice;
    }
    const float* a = floats(in[f.a_input]) + batch * f.a_batch;
    if (f.trans_a) {
      lay(a + first * problem_.m + row, problem_.m, count, rows, to, rows);
      slice.a_row = 1;
      slice.a_col = rows;
    } else {
      lay(a + row * f.k + first, f.k, rows, count, to, count);
    }
    return slice;
  }

  // Columns of B in panels of `width`.
  void pack_b(const std::byte* const* in, const Terms& terms, std::int64_t column,
              std::int64_t columns, float* to, std::int64_t width) const {
    const auto& [f, batch, first, count] = terms;
    // Where rows are terms, few of them at a time: they are often whole pages apart.
    const std::int64_t step = f.trans_b || f.packed_b ? count : kRowsOfB;
    for (std::int64_t k = 0; k < count; k += step) {
      for (std::int64_t j = 0; j < columns; j += width) {
        const Terms some{f, batch, first + k, std::min(step, count - k)};
        pack_panel(in, some, column + j, std::min(width, columns - j), to + j * count + k * width,
                   width);
      }
    }
  }

  void pack_panel(const std::byte* const* in, const Terms& terms, std::int64_t column,
                  std::int64_t columns, float* to, std::int64_t width) const {
    const auto& [f, batch, first, count] = terms;
    if (f.packed_b) {
      unpack_panel(words(in[f.b_input]) + batch * f.b_batch, terms, column, columns, to, width);
      return;
    }
    const float* b = floats(in[f.b_input]) + batch * f.b_batch;
    if (f.trans_b) {
      problem_.kernels->transpose(b + column * f.k + first, f.k, columns, count, to, width);
      if (rounding_ != nullptr) lay(to, width, count, columns, to, width);
    } else {
      lay(b + first * problem_.n + column, problem_.n, count, columns, to, width);
    }
  }

  // A part of a matrix, rows `ld` and `ld_to` apart.
  void lay(const float* from, std::int64_t ld, std::int64_t rows, std::int64_t columns, float* to,
           std::int64_t ld_to) const {
    if (rounding_ != nullptr) {
      rounding_->round(from, ld, rows, columns, to, ld_to);
      return;
    }
    for (std::int64_t i = 0; i < rows; ++i)
      std::memcpy(to + i * ld_to, from + i * ld, static_cast<std::size_t>(columns) * sizeof(float));
  }

  void unpack_panel(const std::uint32_t* tiles, const Terms& terms, std::int64_t column,
                    std::int64_t columns, float* to, std::int64_t width) const {
    for (std::int64_t k = 0; k < terms.count; k += kBf16Terms) {
      for (std::int64_t j = 0; j < columns;) {  // a panel may begin and end inside a tile
        const std::int64_t inside = (column + j) % kBf16Vectors;
        const std::int64_t size = std::min(kBf16Vectors - inside, columns - j);
        rounding_->unpack_columns(
            bf16_tile(tiles, terms.factors.k, column + j, terms.first + k) + inside, size,
            to + k * width + j, width);
        j += size;
      }
    }
  }

  const GemmProblem problem_;
  const std::vector<GemmPart> parts_;
  const Bf16Kernels* const rounding_;  // null: f32 as it is
  const std::int64_t thread_floats_;
};

}  // namespace

std::unique_ptr<Kernel> make_panel_gemm(GemmProblem problem, const Bf16Kernels* rounding) {
  std::vector<GemmPart> parts = parts_of(problem, kBf16Vectors, rounding == nullptr);
  return std::make_unique<PanelGemm>(std::move(problem), std::move(parts), rounding);
}

}  // namespace mixflow
