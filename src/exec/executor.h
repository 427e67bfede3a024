// Runs a planned program. Everything is bound before the first run: a run only moves pointers and
// calls kernels.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "exec/arena.h"
#include "exec/trace.h"
#include "exec/watch.h"
#include "plan/program.h"

namespace mixflow {

struct ExecutorOptions {
  // Statics that no output may overwrite are read-only during a run, and freed bytes are filled
  // with NaN (for which the program must have been planned with `poison`).
  bool checked = false;
  // Memory shared with executors that do not run at the same time, and whose outputs are not needed
  // by then: at least dynamic_bytes. Null: an arena of its own.
  std::shared_ptr<Arena> arena;
  // By input: memory that somebody else owns and fills, or null. Empty: all inputs have their own.
  std::vector<std::byte*> inputs;
};

class Frame;

class Executor {
 public:
  explicit Executor(ProgramPtr program, ExecutorOptions options = {});
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Static memory of input i, dense row-major: write it before run(). A donated input holds its
  // output afterwards.
  std::byte* input(int i) const { return inputs_[static_cast<std::size_t>(i)]; }
  // Valid after run() until the next.
  const std::byte* output(int j) const { return outputs_[static_cast<std::size_t>(j)]; }
  std::int64_t input_bytes(int i) const;
  std::int64_t output_bytes(int j) const;

  // `trace`: where the instructions leave their spans, or null.
  void run(Trace* trace = nullptr);
  // A run in which `watch` sees what every kernel writes. Allocates, and takes many times as long.
  void run_watched(NonFiniteWatch& watch);

  const Program& program() const { return *program_; }
  const std::shared_ptr<Arena>& arena() const { return arena_; }
  // High-water mark of the arena: the end of the highest byte range that any kernel was handed,
  // measured on the pointers of the first run. Equal to program().dynamic_bytes, or there is a bug.
  std::int64_t arena_peak_bytes() const { return arena_peak_bytes_; }

 private:
  struct Context;

  ProgramPtr program_;
  ExecutorOptions options_;
  std::unique_ptr<Context> context_;
  std::shared_ptr<Arena> arena_;
  std::unique_ptr<Arena> writable_statics_, read_only_statics_, zeros_;
  std::vector<std::byte*> inputs_, outputs_;
  std::unique_ptr<Frame> root_;
  std::int64_t arena_peak_bytes_ = 0;
  bool measured_ = false;
};

}  // namespace mixflow
