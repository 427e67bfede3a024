// Register-tiled f32 matrix products for small or thin shapes, and the 2-D transposition they need.
// One table of functions per instruction set; `gemm_kernels()` is the best that this CPU runs.
//
// A product here is a list of slices, all summed into one C while its tile stays in registers (a
// tangent is always x'·W + x·W': one trip over C instead of two). A is read through two strides, so
// a transposed A costs nothing; B is read row by row, so a transposed B must be turned first
// (`transpose`) or go through `multiply_nt`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mixflow {

// One product A·B of `k` terms per element: A[i,p] = a[i * a_row + p * a_col], and the columns of B
// come in panels of `panel` columns (GemmKernels::panel_columns): B[p,j] = b[(j / panel) * b_panel
// + p * b_row + j % panel]. For a plain matrix b_panel == panel.
struct GemmSlice {
  const float* a;
  const float* b;
  std::ptrdiff_t a_row;
  std::ptrdiff_t a_col;
  std::ptrdiff_t b_row;
  std::ptrdiff_t b_panel;
  std::int64_t k;
};

// How an m × n result is cut into tiles: settled once, for products that are small enough to feel
// the divisions. Blocks of `rows` rows, the first `taller` of them one row more; panels of `width`
// columns, then one of `rest` if that is not 0.
struct GemmTiling {
  using Tile = void (*)(const GemmSlice* slices, int num_slices, std::int64_t row,
                        std::int64_t panel, std::int64_t tail, const float* z, std::ptrdiff_t ldz,
                        float* c, std::ptrdiff_t ldc);
  std::int64_t blocks, rows, taller;
  std::int64_t width, panels, rest;
  std::int64_t rest_tail;  // columns in the last vector of the rest, 0: all
  Tile full_tile[2];       // of a panel, for `rows` rows and for one more
  Tile rest_tile[2];
};

struct GemmKernels {
  const char* target;  // Highway's name of the instruction set
  int lanes;           // floats per vector

  // Width of the column panels that `multiply` cuts n columns into; all but the last are that wide.
  std::int64_t (*panel_columns)(std::int64_t n);

  // c[m,n] = sum over slices of A·B (+ z[m,n] if z is not null), row strides ldc and ldz. z may be
  // c; otherwise nothing overlaps c. Reads and writes nothing beyond the matrices. m, n > 0; with
  // no slices the sum is zero.
  void (*multiply)(const GemmSlice* slices, int num_slices, std::int64_t m, std::int64_t n,
                   const float* z, std::ptrdiff_t ldz, float* c, std::ptrdiff_t ldc);

  // The same in two parts: what depends on the size alone, and the work.
  GemmTiling (*tiling)(std::int64_t m, std::int64_t n);
  void (*multiply_tiles)(const GemmTiling& tiling, const GemmSlice* slices, int num_slices,
                         const float* z, std::ptrdiff_t ldz, float* c, std::ptrdiff_t ldc);

  // The same with B given transposed, B[p,j] = b[j * b_row + p], and a_col == 1; b_panel is not
  // read. A dot product per element: for few rows m, where turning B would cost more than the
  // product.
  void (*multiply_nt)(const GemmSlice* slices, int num_slices, std::int64_t m, std::int64_t n,
                      const float* z, std::ptrdiff_t ldz, float* c, std::ptrdiff_t ldc);

  // to[j * ld_to + i] = from[i * ld_from + j] for i < rows, j < cols.
  void (*transpose)(const float* from, std::ptrdiff_t ld_from, std::int64_t rows, std::int64_t cols,
                    float* to, std::ptrdiff_t ld_to);
};

const GemmKernels& gemm_kernels();

// Those of every instruction set that this CPU runs, for tests. Not to be called while kernels run.
std::vector<const GemmKernels*> all_gemm_kernels();

}  // namespace mixflow
