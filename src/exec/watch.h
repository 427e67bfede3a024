// Where numbers stop being finite: a watched run looks at what each kernel writes, remembers which
// memory holds an infinity or a NaN and which kernel made it from finite numbers, and follows a
// result back to there. Slow; for the one meta-step that went wrong.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "plan/body.h"

namespace mixflow {

// An iteration of a loop.
struct Iteration {
  std::string label;       // of the loop's node
  std::int64_t index = 0;  // of its slices: a loop that runs backwards begins at n - 1
  std::int64_t n = 0;
  bool parallel = false;  // over tasks, heads or blocks
};

struct Origin {
  // An input of the program that was not finite before the run; -1: a kernel made the number.
  int input = -1;
  std::string op;                // the primitive, inside a fused kernel too where it was found
  std::string label;             // its place in the model
  std::vector<Iteration> loops;  // around it, outermost first
  Type type;                     // of the result
  std::int64_t element = 0;      // the first that is not finite
  double value = 0;              // what it is
  std::vector<double> operands;  // of that element; empty: not known
};

class NonFiniteWatch {
 public:
  explicit NonFiniteWatch(int threads) : loops_(static_cast<std::size_t>(threads)) {}

  // Where the number came from that is in these bytes of a float tensor and not finite; none if
  // all are. Of several NaN come first: an infinity may be meant (exp of a large number in 1 / x).
  std::optional<Origin> origin_of(const std::byte* data, std::int64_t bytes) const;

  // The rest is for the executor.

  void watch_input(int index, const Type& type, const std::byte* data);
  void enter(std::size_t thread, const Node& loop, std::int64_t index);
  void leave(std::size_t thread);
  // The other threads of a parallel loop are inside the loops that thread 0 is in.
  void fork();

  // Around one kernel. What `before` returns is for `after`.
  struct Watched {
    std::int32_t cause = -1;                     // event of an input that is not finite
    std::vector<std::vector<std::byte>> inputs;  // of a fused kernel, which may overwrite them
  };
  Watched before(const Graph& graph, const Node& node, std::byte* const* in) const;
  void after(std::size_t thread, const Graph& graph, const Node& node, const Watched& watched,
             std::byte* const* out);
  // Bytes that are moved, and sums of threads that are added.
  void copied(const std::byte* from, const std::byte* to, std::int64_t bytes);
  void added(const std::byte* part, const std::byte* sum, std::int64_t bytes);

 private:
  struct Event {
    std::int32_t cause = -1;  // -1: an origin
    bool nan = false;
    Origin origin;  // of an origin
  };
  struct Mark {
    const std::byte* end;
    std::int32_t event;
  };

  std::int32_t event_at(const std::byte* data, std::int64_t bytes) const;
  void mark(const std::byte* data, std::int64_t bytes, std::int32_t event);
  void clear(const std::byte* data, std::int64_t bytes);

  mutable std::mutex mutex_;
  std::vector<std::vector<Iteration>> loops_;  // by thread
  std::vector<Event> events_;
  std::map<const std::byte*, Mark> marks_;  // disjoint ranges by their first byte
};

}  // namespace mixflow
