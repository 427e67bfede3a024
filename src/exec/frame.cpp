#include "exec/frame.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "exec/arena.h"
#include "graph/op.h"
#include "kernels/team.h"
#include "util/error.h"

namespace mixflow {
namespace {

template <class T>
void add_into(std::byte* sums, const std::byte* parts, std::int64_t count) {
  auto* to = reinterpret_cast<T*>(sums);
  const auto* from = reinterpret_cast<const T*>(parts);
  for (std::int64_t i = 0; i < count; ++i) to[i] += from[i];
}

// sums[i] += parts[i]; the order over threads is fixed by the caller.
void add_into(const Type& type, std::byte* sums, const std::byte* parts) {
  switch (type.dtype) {
    case DType::f32:
      return add_into<float>(sums, parts, type.elements());
    case DType::f64:
      return add_into<double>(sums, parts, type.elements());
    case DType::i32:
      return add_into<std::int32_t>(sums, parts, type.elements());
  }
}

void fill_with_nan(std::byte* at, std::int64_t bytes) {
  std::memset(at, 0xff, static_cast<std::size_t>(bytes));  // NaN in every float type
}

}  // namespace

// A loop with a frame per thread for its body, and one for its last iteration where that differs.
class Frame::LoopRun {
 public:
  LoopRun(const Instr& instr, const Node& node, std::byte* workspace, const FrameContext& context,
          std::size_t thread, std::uint32_t depth)
      : loop_(*instr.loop),
        node_(node),
        region_(*loop_.region),
        nc_(static_cast<std::size_t>(region_.num_consts)),
        nk_(static_cast<std::size_t>(region_.num_carry)),
        nx_(static_cast<std::size_t>(region_.num_xs)),
        workspace_(workspace),
        context_(context),
        thread_(thread) {
    for (int w = 0; w < loop_.threads; ++w) {
      frames_.push_back(std::make_unique<Frame>(
          loop_.body, workspace + loop_.workspace + w * loop_.workspace_stride, context,
          loop_.threads > 1 ? static_cast<std::size_t>(w) : thread, depth));
      current_.emplace_back(nk_);
    }
    if (loop_.last == loop_.body) return;
    MIXFLOW_CHECK(loop_.threads == 1, "a loop in parallel has no last iteration");
    last_ =
        std::make_unique<Frame>(loop_.last, workspace + loop_.workspace, context, thread, depth);
  }

  void touch() {
    if (loop_.threads == 1) return frames_[0]->touch();
    run_parts(loop_.threads, [&](int w) {
      touch_pages(workspace_ + loop_.workspace + w * loop_.workspace_stride,
                  loop_.fullest().workspace_bytes);
      for (std::size_t k = 0; k < nk_ && w > 0; ++k)
        touch_pages(partial(k, w), loop_.carries[k].bytes);
    });
  }

  void run(const Frame& parent, std::byte* const* in, std::byte* const* out) {
    const int threads = loop_.threads;
    if (context_.watch != nullptr && threads > 1) context_.watch->fork();
    run_parts(threads, [&](int w) {
      const auto [first, last] = share_of(region_.n, w, threads);
      run_range(parent, in, out, w, first, last);
    });
    if (threads == 1) return;
    for (std::size_t k = 0; k < nk_; ++k) {
      const Type& type = region_.body->type(region_.body->outputs[k]);
      for (int w = 1; w < threads; ++w) {
        add_into(type, out[k], partial(k, w));
        if (context_.watch != nullptr) context_.watch->added(partial(k, w), out[k], type.bytes());
      }
    }
  }

  std::int64_t peak() const {
    std::int64_t peak = last_ ? last_->peak() : 0;
    for (const auto& frame : frames_) peak = std::max(peak, frame->peak());
    return peak;
  }

  // Ranges of the parent's workspace that this loop uses itself.
  template <class Measure>
  void measure(const Measure& range, std::byte* const* out) const {
    for (std::size_t k = 0; k < nk_; ++k) {
      if (out[k]) range(out[k], loop_.carries[k].bytes);
      for (int w = 1; w < loop_.threads; ++w) range(partial(k, w), loop_.carries[k].bytes);
    }
    for (std::size_t j = 0; j < loop_.ys.size(); ++j) {
      const StackPlan& ys = loop_.ys[j];
      range(out[nk_ + j], ys.stride * (region_.n - (ys.edge_index >= 0 ? 1 : 0)));
    }
  }

 private:
  std::byte* partial(std::size_t k, int w) const {
    const CarryPlan& carry = loop_.carries[k];
    return workspace_ + carry.private_offset + aligned(carry.bytes) * (w - 1);
  }

  static std::byte* slice(std::byte* base, const StackPlan& stack, std::int64_t index) {
    return base + index * stack.stride - stack.shift;
  }

  // Iterations [lo, hi) on frame w. Thread 0 starts from the inits and writes the loop's own
  // results; the others sum into partial sums that start from zero.
  void run_range(const Frame& parent, std::byte* const* in, std::byte* const* out, int w,
                 std::int64_t lo, std::int64_t hi) {
    auto& current = current_[static_cast<std::size_t>(w)];
    auto* zeros = const_cast<std::byte*>(context_.zeros);
    for (std::size_t c = 0; c < nc_; ++c) {
      frames_[static_cast<std::size_t>(w)]->bind_input(c, in[c]);
      if (last_) last_->bind_input(c, in[c]);
    }
    for (std::size_t k = 0; k < nk_; ++k) current[k] = w == 0 ? in[nc_ + k] : zeros;
    for (std::int64_t i = lo; i < hi; ++i) {
      const bool is_last = i + 1 == region_.n;
      Frame& frame = is_last && last_ ? *last_ : *frames_[static_cast<std::size_t>(w)];
      const std::int64_t index = region_.reverse ? region_.n - 1 - i : i;
      const std::int64_t next = region_.reverse ? index - 1 : index + 1;
      const std::int64_t before = region_.reverse ? index + 1 : index - 1;
      for (std::size_t j = 0; j < nx_; ++j) {
        const StackPlan& xs = loop_.xs[j];
        std::byte* base = in[nc_ + nk_ + j];
        const bool edge = index == xs.edge_index;
        frame.bind_input(nc_ + nk_ + j, edge ? parent.cell(xs.edge) : slice(base, xs, index));
        // The edge belongs to somebody else: temporaries take the slot of the iteration before.
        if (xs.donated) frame.bind_slot(nc_ + nk_ + j, slice(base, xs, edge ? before : index));
      }
      std::size_t output = 0;  // of the body
      for (std::size_t k = 0; k < nk_; ++k) {
        frame.bind_input(nc_ + k, current[k]);
        const CarryPlan& carry = loop_.carries[k];
        if (carry.dropped && is_last) continue;
        const auto partner = static_cast<std::size_t>(carry.partner);
        std::byte* to = w == 0 ? out[k] : partial(k, w);
        if (carry.kind == CarryPlan::Kind::stacked && !is_last) {
          to = slice(out[nk_ + partner], loop_.ys[partner], next);
        } else if (carry.kind == CarryPlan::Kind::moving) {
          const StackPlan& xs = loop_.xs[partner];
          if (index != xs.edge_index) to = slice(in[nc_ + nk_ + partner], xs, index);
        }
        frame.bind_output(output++, to);
        next_of(w, k) = to;
      }
      for (std::size_t j = 0; j < loop_.ys.size(); ++j) {
        const StackPlan& ys = loop_.ys[j];
        if (ys.edge_index < 0) frame.bind_output(output + j, slice(out[nk_ + j], ys, index));
      }
      run_iteration(frame, w, index);
      if (context_.poison) poison_slices(in, index);
      for (std::size_t k = 0; k < nk_; ++k) current[k] = next_of(w, k);
    }
    if (lo < hi || w > 0) return;
    for (std::size_t k = 0; k < nk_; ++k) {  // no iteration: the result is the init
      if (!out[k] || out[k] == in[nc_ + k]) continue;
      std::memcpy(out[k], in[nc_ + k], static_cast<std::size_t>(loop_.carries[k].bytes));
      if (context_.watch != nullptr)
        context_.watch->copied(in[nc_ + k], out[k], loop_.carries[k].bytes);
    }
  }

  void run_iteration(Frame& frame, int w, std::int64_t index) const {
    if (context_.watch == nullptr) return frame.run();
    const std::size_t thread = loop_.threads > 1 ? static_cast<std::size_t>(w) : thread_;
    context_.watch->enter(thread, node_, index);
    frame.run();
    context_.watch->leave(thread);
  }

  // Slices that this iteration was free to overwrite, unless a result of it lies there now.
  void poison_slices(std::byte* const* in, std::int64_t index) const {
    for (std::size_t j = 0; j < nx_; ++j) {
      const StackPlan& xs = loop_.xs[j];
      bool kept = !xs.donated || index == xs.edge_index;
      for (const StackPlan& ys : loop_.ys) kept = kept || ys.over_xs == static_cast<int>(j);
      for (const CarryPlan& carry : loop_.carries) {
        kept =
            kept || (carry.kind == CarryPlan::Kind::moving && carry.partner == static_cast<int>(j));
      }
      if (!kept) fill_with_nan(slice(in[nc_ + nk_ + j], xs, index), xs.stride);
    }
  }

  std::byte*& next_of(int w, std::size_t k) { return next_[static_cast<std::size_t>(w) * nk_ + k]; }

  const LoopPlan& loop_;
  const Node& node_;
  const Region& region_;
  const std::size_t nc_, nk_, nx_;
  std::byte* const workspace_;
  const FrameContext& context_;
  const std::size_t thread_;  // that runs a loop which is not split
  std::vector<std::unique_ptr<Frame>> frames_;
  std::unique_ptr<Frame> last_;  // null: the last iteration is like the others
  std::vector<std::vector<std::byte*>> current_;
  std::vector<std::byte*> next_ =
      std::vector<std::byte*>(static_cast<std::size_t>(loop_.threads) * nk_);
};

Frame::Frame(BodyPtr body, std::byte* workspace, const FrameContext& context, std::size_t thread,
             std::uint32_t depth)
    : body_(std::move(body)),
      workspace_(workspace),
      context_(context),
      thread_(thread),
      depth_(depth),
      inputs_(body_->graph->inputs.size()) {
  const Graph& g = *body_->graph;
  const std::size_t externals = 2 * inputs_ + g.outputs.size();
  std::vector<std::vector<std::uint32_t>> cells(externals);
  // A cell that holds the pointer of a place: fixed now, or bound with an external later.
  const auto add_cell = [&](const Place& place) {
    const auto c = static_cast<std::uint32_t>(cells_.size());
    const auto index = static_cast<std::size_t>(place.index);
    cells_.push_back(nullptr);
    switch (place.kind) {
      case Place::Kind::none:
        break;
      case Place::Kind::input:
        cells[index].push_back(c);
        break;
      case Place::Kind::slot:
        cells[inputs_ + index].push_back(c);
        break;
      case Place::Kind::dest:
        cells[2 * inputs_ + index].push_back(c);
        break;
      case Place::Kind::workspace:
        cells_[c] = workspace_ + place.offset;
        break;
      case Place::Kind::zeros:
        cells_[c] = const_cast<std::byte*>(context_.zeros);
        break;
    }
    return c;
  };
  for (std::size_t v = 0; v < g.values.size(); ++v)
    value_cell_.push_back(add_cell(body_->places[v]));
  output_cells_ = cells_.size();
  for (std::size_t k = 0; k < g.outputs.size(); ++k) {
    add_cell({.kind = Place::Kind::dest, .index = static_cast<std::int32_t>(k)});
  }
  slot_cells_ = cells_.size();
  for (std::size_t i = 0; i < inputs_; ++i)
    add_cell({.kind = Place::Kind::slot, .index = static_cast<std::int32_t>(i)});
  for (const Instr& instr : body_->instrs) {
    const Node& node = g.nodes[static_cast<std::size_t>(instr.node)];
    Step c{.kernel = instr.kernel.get(),
           .in = static_cast<std::uint32_t>(cells_.size()),
           .scratch = workspace_ + instr.scratch};
    for (const Id in : node.in) add_cell(body_->places[static_cast<std::size_t>(in)]);
    c.out = static_cast<std::uint32_t>(cells_.size());
    for (const Id out : node.out) add_cell(body_->places[static_cast<std::size_t>(out)]);
    steps_.push_back(c);
    loops_.push_back(instr.loop ? std::make_unique<LoopRun>(instr, node, workspace_, context_,
                                                            thread_, depth_ + 1)
                                : nullptr);
  }
  first_.push_back(0);
  for (const auto& list : cells) {
    cell_of_.insert(cell_of_.end(), list.begin(), list.end());
    first_.push_back(static_cast<std::uint32_t>(cell_of_.size()));
  }
}

Frame::~Frame() = default;

void Frame::touch() {
  for (const auto& loop : loops_) {
    if (loop) loop->touch();
  }
}

void Frame::run() {
  if (context_.measuring || context_.poison || context_.trace != nullptr ||
      context_.watch != nullptr) {
    run_watched();
  } else {
    std::byte** cells = cells_.data();
    for (std::size_t i = 0; i < steps_.size(); ++i) run_step(i, cells);
  }
  if (!body_->end_copies.empty() || !body_->staged.empty()) finish();
}

void Frame::run_step(std::size_t i, std::byte** cells) {
  const Step& step = steps_[i];
  if (step.kernel != nullptr) {
    step.kernel->run(cells + step.in, cells + step.out, step.scratch);
  } else {
    loops_[i]->run(*this, cells + step.in, cells + step.out);
  }
}

void Frame::run_watched() {
  if (context_.poison) fill_with_nan(workspace_, body_->workspace_bytes);
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    if (context_.trace != nullptr) {
      run_traced(i);
    } else if (context_.watch != nullptr) {
      run_for_watch(i);
    } else {
      run_step(i, cells_.data());
    }
    if (context_.measuring) measure(i);
    if (context_.poison) poison(body_->instrs[i]);
  }
}

void Frame::run_traced(std::size_t i) {
  Trace::Span span{.body = body_.get(),
                   .instr = static_cast<std::uint32_t>(i),
                   .depth = depth_,
                   .begin_ns = Trace::now_ns()};
  run_step(i, cells_.data());
  span.end_ns = Trace::now_ns();
  context_.trace->add(thread_, span);
}

void Frame::run_for_watch(std::size_t i) {
  const Step& step = steps_[i];
  if (step.kernel == nullptr) return run_step(i, cells_.data());
  const Graph& g = *body_->graph;
  const Node& node = g.nodes[static_cast<std::size_t>(body_->instrs[i].node)];
  // Nothing may leave a parallel region: without memory the watch sees less.
  const auto look = [](auto&& what) {
    try {
      what();
    } catch (const std::bad_alloc&) {
      return;
    }
  };
  NonFiniteWatch::Watched watched;
  look([&] { watched = context_.watch->before(g, node, cells_.data() + step.in); });
  run_step(i, cells_.data());
  look([&] { context_.watch->after(thread_, g, node, watched, cells_.data() + step.out); });
}

void Frame::finish() {
  const auto copy = [&](std::byte* to, const std::byte* from, std::int64_t bytes) {
    if (!to || to == from) return;
    std::memcpy(to, from, static_cast<std::size_t>(bytes));
    if (context_.watch != nullptr) context_.watch->copied(from, to, bytes);
  };
  for (const Body::Staged& s : body_->staged) {
    copy(workspace_ + s.offset, cell(body_->graph->inputs[static_cast<std::size_t>(s.input)]),
         s.bytes);
    if (context_.measuring) measure(workspace_ + s.offset, s.bytes);
  }
  const auto destination = [&](std::int32_t output) {
    return cells_[output_cells_ + static_cast<std::size_t>(output)];
  };
  for (const EndCopy& c : body_->end_copies) copy(destination(c.output), cell(c.from), c.bytes);
  for (const Body::Staged& s : body_->staged)
    copy(destination(s.output), workspace_ + s.offset, s.bytes);
}

void Frame::poison(const Instr& instr) {
  for (const Freed& freed : instr.freed) {
    std::byte* at = freed.place.kind == Place::Kind::slot
                        ? cells_[slot_cells_ + static_cast<std::size_t>(freed.place.index)]
                        : workspace_ + freed.place.offset;
    fill_with_nan(at, freed.bytes);
  }
}

void Frame::measure(std::size_t i) {
  const Step& step = steps_[i];
  std::byte* const* out = cells_.data() + step.out;
  if (step.kernel == nullptr) {
    loops_[i]->measure([&](const std::byte* p, std::int64_t bytes) { measure(p, bytes); }, out);
    return;
  }
  const Graph& g = *body_->graph;
  const Node& node = g.nodes[static_cast<std::size_t>(body_->instrs[i].node)];
  for (std::size_t j = 0; j < node.out.size(); ++j) measure(out[j], g.type(node.out[j]).bytes());
  if (step.kernel->scratch_bytes > 0) measure(step.scratch, step.kernel->scratch_bytes);
}

void Frame::measure(const std::byte* pointer, std::int64_t bytes) {
  if (!pointer || pointer < context_.arena || pointer >= context_.arena + context_.arena_bytes)
    return;
  peak_ = std::max(peak_, pointer - context_.arena + bytes);
}

std::int64_t Frame::peak() const {
  std::int64_t peak = peak_;
  for (const auto& loop : loops_) {
    if (loop) peak = std::max(peak, loop->peak());
  }
  return peak;
}

}  // namespace mixflow
