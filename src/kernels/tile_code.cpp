#include "kernels/tile_code.h"

#ifdef MIXFLOW_HAS_ASMJIT

#include <algorithm>
#include <map>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "kernels/code_memory.h"
#include "kernels/run_code.h"

namespace mixflow {
namespace {

using Kind = TileStep::Kind;

// What a step that is no code reads.
std::vector<Place> places_read(const TileStep& step) {
  switch (step.kind) {
    case Kind::elements:
    case Kind::rows:
    case Kind::once: {
      std::vector<Place> places{place_of(step.a), place_of(step.b), place_of(step.c)};
      places.resize(static_cast<std::size_t>(operand_count(step.op)));
      return places;
    }
    case Kind::row_op:
      if (step.row_fn == row_fns().sum_more || step.row_fn == row_fns().max_more)
        return {place_of(step.a), place_of(step.dst)};
      return {place_of(step.a)};
    case Kind::reverse:
    case Kind::sum_all:
    case Kind::sum_columns:
      return {place_of(step.a)};
    default:
      return {};
  }
}

// Whether rows of so many fill vectors well enough for loops of their own.
bool fills_vectors(std::int64_t cols) {
  constexpr std::int64_t kLanes = 16;
  return 2 * ((cols + kLanes - 1) / kLanes * kLanes) <= 3 * cols;
}

class Runs {
 public:
  explicit Runs(TileProgram& program) : program_(program) {
    by_rows_ = fills_vectors(program.cols);
    for (const TileStep& step : program_.prologue) {
      if (by_rows_ && is_repeat(step)) rows_for_all_.emplace(place_of(step.dst), step.a);
    }
    if (program.is_one_tile() && program.cols <= kFewColumns) cols_ = program.cols;
  }

  void compile() {
    for (TileProgram::Phase& phase : program_.phases) {
      compile(phase.row_steps);
      compile(phase.chunk_steps);
    }
    compile(program_.tile_end);
    std::erase_if(program_.prologue, [&](const TileStep& step) {
      return is_repeat(step) && !is_read(place_of(step.dst));
    });
  }

 private:
  void compile(std::vector<TileStep>& steps) {
    for (std::size_t first = 0; first < steps.size(); ++first) {
      std::size_t last = first;
      while (last < steps.size() && has_code(steps[last])) ++last;
      if (last > first && pays(std::span(&steps[first], last - first))) replace(steps, first, last);
    }
  }

  bool has_code(const TileStep& step) const {
    if (is_expand(step)) return by_rows_;
    if (is_row_sum(step)) return by_rows_ && program_.cols <= kLongestSum;
    if (step.kind == Kind::sum_columns) {
      const TileSum& sum = program_.sums[static_cast<std::size_t>(step.index)];
      return by_rows_ && cols_ > 0 && sum.period_rows == 1 && sum.block_rows >= program_.rows &&
             sum.flush_rows == 0;
    }
    return is_arithmetic(step);
  }

  // A step alone is a loop already. A row that it reads for all rows is spread once per run: that
  // costs as much as the step only if the run is one tile.
  bool pays(std::span<const TileStep> run) const {
    if (run.size() > 1 || cols_ == 0) return run.size() > 1;
    return std::ranges::any_of(places_read(run[0]),
                               [&](const Place& place) { return rows_for_all_.contains(place); });
  }

  // Steps [first, last) by one.
  void replace(std::vector<TileStep>& steps, std::size_t first, std::size_t last) {
    const std::span<const TileStep> run(&steps[first], last - first);
    RunSetting setting{.cols = cols_, .rows_for_all = rows_for_all_};
    std::set<Place> read;
    for (const TileStep& step : run) {
      for (const Place& place : places_read(step)) {
        if (!rows_for_all_.contains(place)) read.insert(place);
      }
      if (step.kind == Kind::sum_columns) {
        const TileSum& sum = program_.sums[static_cast<std::size_t>(step.index)];
        setting.sums.emplace(step.index, program_.base_of_output(sum.output));
      } else if (step.dst.base >= 2 || is_read_after(&steps[last - 1], place_of(step.dst))) {
        setting.stored.insert(place_of(step.dst));
      }
    }
    const RunCode code = compile_run(run, setting);
    program_.code.push_back(code.owner);
    const auto at = [&](std::size_t i) { return steps.begin() + static_cast<std::ptrdiff_t>(i); };
    *at(first) = {.kind = Kind::code, .code = code.entry};
    read_by_code_.emplace(code.entry, std::move(read));
    steps.erase(at(first + 1), at(last));
  }

  bool reads_place(const TileStep& step, const Place& place) const {
    if (step.kind != Kind::code) return std::ranges::count(places_read(step), place) > 0;
    return read_by_code_.at(step.code).contains(place);
  }

  // Whether a step behind `run_end` reads what lies there before another writes it.
  bool is_read_after(const TileStep* run_end, const Place& place) {
    bool after = false, read = false, done = false;
    program_.for_each_step([&](const TileStep& step) {
      if (after && !done) {
        read |= reads_place(step, place);
        done = read || (step.kind == Kind::elements && place_of(step.dst) == place);
      }
      after |= &step == run_end;
    });
    return read;
  }

  bool is_read(const Place& place) {
    bool read = false;
    program_.for_each_step([&](const TileStep& step) { read |= reads_place(step, place); });
    return read;
  }

  TileProgram& program_;
  std::int64_t cols_ = 0;  // of a space that is one tile and has few
  bool by_rows_ = false;   // runs may look at rows
  std::map<Place, TileRef> rows_for_all_;
  std::map<TileCode, std::set<Place>> read_by_code_;
};

}  // namespace

void compile_runs(TileProgram& program) {
  if (tile_fns_use_avx512() && code_memory_is_given()) Runs(program).compile();
}

}  // namespace mixflow

#else

namespace mixflow {

void compile_runs(TileProgram&) {}

}  // namespace mixflow

#endif
