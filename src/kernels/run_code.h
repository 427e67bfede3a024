// The compiler of one run of steps (tile_code.h says which steps are one), for x86 with AVX-512.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <utility>

#include "kernels/tile_program.h"

namespace mixflow {

using Place = std::pair<std::int32_t, std::int64_t>;  // of a TileRef
inline Place place_of(const TileRef& ref) { return {ref.base, ref.offset}; }

// What a run's code is made for, beside its steps.
struct RunSetting {
  std::int64_t cols = 0;                         // of the tile, where they are few; 0: any number
  const std::map<Place, TileRef>& rows_for_all;  // places whose rows are one row of an input
  std::set<Place> stored;                        // places that others read after the run
  std::map<std::int32_t, std::int32_t> sums;  // steps' sums, by their index -> base of the output
};

// Rows that are summed in code, by one vector: chains of up to 32 additions.
inline constexpr std::int64_t kLongestSum = 512;
// Rows whose vectors are spelled out one by one: cols of a setting are no more.
inline constexpr std::int64_t kFewColumns = 64;

int operand_count(TileOp op);

// What steps do with rows, and whether they are ops that runs may hold.
bool is_expand(const TileStep& step);
bool is_repeat(const TileStep& step);
bool is_row_sum(const TileStep& step);
bool is_arithmetic(const TileStep& step);

struct RunCode {
  TileCode entry = nullptr;
  std::shared_ptr<const void> owner;  // the code is there as long as this
};

// Steps are elementwise ones, `expand`, sums of rows of up to kLongestSum columns, and sums of
// columns of a setting's few. Throws RunError if the system gives no memory for code.
RunCode compile_run(std::span<const TileStep> run, const RunSetting& setting);

}  // namespace mixflow
