// Where tasks come from. A source is stateless between calls: what it writes depends on (seed,
// split, step) alone, so a resumed run sees the same data as an uninterrupted one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "config/config.h"
#include "data/facts.h"
#include "data/split.h"
#include "graph/graph.h"

namespace mixflow {

// One tensor of a batch of examples: x [B, features..], y [B, outputs] or labels i32 [B]; tokens
// i32 [B, S+1].
struct Field {
  std::string name;  // x, y; or tokens
  DType dtype;       // i32, or f32 standing for the experiment's precision
  Shape shape;       // of ONE example, without B: {1}, {64}; {} for a label
};

// Memory of the process's own that a source takes; files that are mapped take none.
struct SourceMemory {
  std::int64_t held_bytes = 0;     // as long as it is there
  std::int64_t reading_bytes = 0;  // beside that, while it is made
};

// Sizes and shapes of a source's batches, from which experiments are built and planned.
class DataSchema {
 public:
  virtual ~DataSchema() = default;

  virtual std::vector<Field> fields() const = 0;
  virtual std::int64_t inner_batch() const = 0;  // B of the inner loss
  // B of the outer loss. A tabular source trains on batches but evaluates on whole splits, so it
  // may differ between splits.
  virtual std::int64_t outer_batch(Split split) const = 0;
  // validation where evaluations alone see that split, test where the outer loss trains on it.
  virtual Split watched_split() const { return Split::test; }
  bool trains_on_validation() const { return watched_split() == Split::test; }
  // The split that tells how a run ended: test, or validation where there are no test data of their
  // own.
  virtual Split final_split() const { return Split::test; }
  // All tasks of the split are one and the same, number by number.
  virtual bool one_task(Split) const { return false; }
  // All tasks of the split have the same outer batch: they are repetitions on one data set.
  virtual bool one_outer_batch(Split split) const { return one_task(split); }
  virtual bool same_batch_every_step() const = 0;  // T axis 1: every inner step sees the same batch
  // Width of the model's output: regression targets, or number of classes (1 for bce).
  virtual std::int64_t output_width() const = 0;

  virtual SourceMemory memory() const { return {}; }
};

// A schema and the data.
class TaskSource : public DataSchema {
 public:
  // What was read; nothing for sources that draw their data.
  virtual DataFacts facts() const { return {}; }

  // Writes one task of a meta-step to its place among all, field by field, in the order of
  // fields():
  //   inner[f]  [tasks, steps or 1, B, ..]     outer[f]  [tasks, B_outer, ..]
  // as float (f32), double (f64) or int32, as `precision` and the field say. `index` counts
  // meta-steps (or evaluations); train and held-out splits never share randomness. Allocates
  // nothing and throws nothing. Threads may write different tasks at the same time.
  virtual void fill_task(Split split, std::uint64_t index, std::int64_t task, std::int64_t steps,
                         Precision precision, std::span<std::byte* const> inner,
                         std::span<std::byte* const> outer) const = 0;
};

// Builds the source that `config.data` describes; reads its files. Targets are checked against
// config.inner.loss. Throws UserError naming the file, what was found (shape, dtype, NaN at row and
// column) and what was expected.
std::unique_ptr<TaskSource> make_source(const Config& config);

// The same without the data, for plans: of arrays reads headers, and of targets that are labels the
// labels. Throws UserError as make_source does for what it reads.
std::unique_ptr<DataSchema> make_schema(const Config& config);

}  // namespace mixflow
