#include "kernels/move.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "kernels/rows.h"
#include "kernels/small_gemm.h"
#include "kernels/team.h"
#include "util/error.h"

namespace mixflow {
namespace {

using Word = std::uint32_t;  // f32 or i32: only moved

constexpr std::int64_t kParallelElements = 250'000;  // 1 MB: below, one thread is faster

Word* words(std::byte* p) { return reinterpret_cast<Word*>(p); }
const Word* words(const std::byte* p) { return reinterpret_cast<const Word*>(p); }
std::size_t bytes(std::int64_t elements) {
  return static_cast<std::size_t>(elements) * sizeof(Word);
}

// Splits [0, n) evenly among the threads: visit(first, last).
template <class Visit>
void split(std::int64_t n, int threads, const Visit& visit) {
  run_parts(threads, [&](int part) {
    const auto [first, last] = share_of(n, part, threads);
    visit(first, last);
  });
}

void zero(Word* to, std::int64_t n, int threads) {
  split(n, n >= kParallelElements ? threads : 1, [to](std::int64_t first, std::int64_t last) {
    std::memset(to + first, 0, bytes(last - first));
  });
}

// --- strided copies ------------------------------------------------------------------------------

struct CopyAxis {
  std::int64_t size, from, to;
};

// A StridedCopy made ready: axes of size 1 gone, axes that continue each other merged, the rest in
// the order of the target's strides, so that writes run forward.
struct CopyPlan {
  // What the innermost loop does: a memcpy, a fill, a 2-D transposition, or one element at a time.
  enum class Inner : std::uint8_t { run, repeat, transpose, element };

  std::vector<CopyAxis> outer;
  Inner inner = Inner::run;
  CopyAxis run{1, 1, 1};     // the innermost axis; `to` is 1 unless inner is `element`
  CopyAxis across{1, 1, 1};  // transpose only: the axis along which the source is contiguous
  std::int64_t from_start = 0;
  std::int64_t to_start = 0;
  std::int64_t elements = 0;
};

CopyPlan plan_copy(const StridedCopy& copy) {
  CopyPlan plan;
  plan.from_start = copy.from_start;
  plan.to_start = copy.to_start;
  plan.elements = 1;
  std::vector<CopyAxis> axes;
  for (std::size_t i = 0; i < copy.size.size(); ++i) {
    plan.elements *= copy.size[i];
    if (copy.size[i] != 1) axes.push_back({copy.size[i], copy.from[i], copy.to[i]});
  }
  if (plan.elements == 0 || axes.empty()) return plan;
  std::ranges::stable_sort(axes, [](const CopyAxis& a, const CopyAxis& b) { return a.to > b.to; });
  std::vector<CopyAxis> merged{axes[0]};
  for (std::size_t i = 1; i < axes.size(); ++i) {
    CopyAxis& last = merged.back();
    if (last.from == axes[i].from * axes[i].size && last.to == axes[i].to * axes[i].size) {
      last = {last.size * axes[i].size, axes[i].from, axes[i].to};
    } else {
      merged.push_back(axes[i]);
    }
  }
  plan.run = merged.back();
  merged.pop_back();
  if (plan.run.to != 1) {
    plan.inner = CopyPlan::Inner::element;
  } else if (plan.run.from == 1) {
    plan.inner = CopyPlan::Inner::run;
  } else if (plan.run.from == 0) {
    plan.inner = CopyPlan::Inner::repeat;
  } else {
    const auto across =
        std::ranges::find_if(merged, [](const CopyAxis& axis) { return axis.from == 1; });
    plan.inner = CopyPlan::Inner::element;
    if (across != merged.end() && plan.run.from > 0) {
      plan.inner = CopyPlan::Inner::transpose;
      plan.across = *across;
      merged.erase(across);
    }
  }
  plan.outer = std::move(merged);
  return plan;
}

class Copy final : public Kernel {
 public:
  Copy(const std::vector<StridedCopy>& copies, std::int64_t zero_elements, int threads)
      : transpose_(gemm_kernels().transpose), zero_elements_(zero_elements), threads_(threads) {
    for (const StridedCopy& copy : copies) plans_.push_back(plan_copy(copy));
  }

  void run(const std::byte* const* in, std::byte* const* out, std::byte*) const override {
    Word* to = words(out[0]);
    if (zero_elements_ > 0) zero(to, zero_elements_, threads_);
    for (std::size_t i = 0; i < plans_.size(); ++i) {
      if (plans_[i].elements > 0)
        copy(plans_[i], words(in[i]) + plans_[i].from_start, to + plans_[i].to_start);
    }
  }

 private:
  // The threads share the outermost axis.
  void copy(const CopyPlan& plan, const Word* from, Word* to) const {
    const CopyAxis& shared = plan.outer.empty() ? plan.run : plan.outer.front();
    const int threads = plan.elements >= kParallelElements ? threads_ : 1;
    split(shared.size, threads, [&](std::int64_t first, std::int64_t last) {
      if (plan.outer.empty()) {
        inner(plan, first, last, from, to);
      } else {
        walk(plan, 0, first, last, from, to);
      }
    });
  }

  void walk(const CopyPlan& plan, std::size_t depth, std::int64_t first, std::int64_t last,
            const Word* from, Word* to) const {
    const CopyAxis& axis = plan.outer[depth];
    const bool innermost = depth + 1 == plan.outer.size();
    for (std::int64_t i = first; i < last; ++i) {
      const Word* f = from + i * axis.from;
      Word* t = to + i * axis.to;
      if (innermost) {
        inner(plan, 0, plan.run.size, f, t);
      } else {
        walk(plan, depth + 1, 0, plan.outer[depth + 1].size, f, t);
      }
    }
  }

  // Positions [first, last) of the innermost axis (and all of `across`).
  void inner(const CopyPlan& plan, std::int64_t first, std::int64_t last, const Word* from,
             Word* to) const {
    const std::int64_t n = last - first;
    from += first * plan.run.from;
    to += first * plan.run.to;
    switch (plan.inner) {
      case CopyPlan::Inner::run:
        std::memcpy(to, from, bytes(n));
        break;
      case CopyPlan::Inner::repeat:
        std::fill_n(to, n, *from);
        break;
      case CopyPlan::Inner::transpose:
        transpose_(reinterpret_cast<const float*>(from), plan.run.from, n, plan.across.size,
                   reinterpret_cast<float*>(to), plan.across.to);
        break;
      case CopyPlan::Inner::element:
        for (std::int64_t i = 0; i < n; ++i) to[i * plan.run.to] = from[i * plan.run.from];
        break;
    }
  }

  void (*const transpose_)(const float*, std::ptrdiff_t, std::int64_t, std::int64_t, float*,
                           std::ptrdiff_t);
  std::vector<CopyPlan> plans_;
  const std::int64_t zero_elements_;
  const int threads_;
};

// --- made from nothing ---------------------------------------------------------------------------

class Fill final : public Kernel {
 public:
  Fill(Word bits, std::int64_t n, int threads)
      : bits_(bits), n_(n), threads_(n >= kParallelElements ? threads : 1) {}

  void run(const std::byte* const*, std::byte* const* out, std::byte*) const override {
    Word* to = words(out[0]);
    split(n_, threads_,
          [&](std::int64_t first, std::int64_t last) { std::fill(to + first, to + last, bits_); });
  }

 private:
  const Word bits_;
  const std::int64_t n_;
  const int threads_;
};

template <class T>
class Iota final : public Kernel {
 public:
  Iota(std::int64_t outer, std::int64_t size, std::int64_t inner)
      : outer_(outer), size_(size), inner_(inner) {}

  void run(const std::byte* const*, std::byte* const* out, std::byte*) const override {
    T* to = reinterpret_cast<T*>(out[0]);
    for (std::int64_t o = 0; o < outer_; ++o) {
      for (std::int64_t i = 0; i < size_; ++i, to += inner_)
        std::fill_n(to, inner_, static_cast<T>(i));
    }
  }

 private:
  const std::int64_t outer_, size_, inner_;
};

class Convert final : public Kernel {
 public:
  Convert(std::int64_t n, bool to_float) : n_(n), to_float_(to_float) {}

  void run(const std::byte* const* in, std::byte* const* out, std::byte*) const override {
    if (to_float_) {
      const auto* x = reinterpret_cast<const std::int32_t*>(in[0]);
      auto* y = reinterpret_cast<float*>(out[0]);
      for (std::int64_t i = 0; i < n_; ++i) y[i] = static_cast<float>(x[i]);
      return;
    }
    const auto* x = reinterpret_cast<const float*>(in[0]);
    auto* y = reinterpret_cast<std::int32_t*>(out[0]);
    for (std::int64_t i = 0; i < n_; ++i) y[i] = truncate(x[i]);
  }

 private:
  static std::int32_t truncate(float x) {
    constexpr float kBound = 2147483648.0F;  // 2^31
    if (x >= kBound) return std::numeric_limits<std::int32_t>::max();
    if (x < -kBound) return std::numeric_limits<std::int32_t>::min();
    return x == x ? static_cast<std::int32_t>(x) : 0;
  }

  const std::int64_t n_;
  const bool to_float_;
};

// --- by index ------------------------------------------------------------------------------------

class OneHot final : public Kernel {
 public:
  OneHot(std::int64_t n, std::int64_t depth) : n_(n), depth_(depth) {}

  void run(const std::byte* const* in, std::byte* const* out, std::byte*) const override {
    const auto* index = reinterpret_cast<const std::int32_t*>(in[0]);
    auto* to = reinterpret_cast<float*>(out[0]);
    std::fill_n(to, n_ * depth_, 0.0F);
    for (std::int64_t i = 0; i < n_; ++i) {
      if (0 <= index[i] && index[i] < depth_) to[i * depth_ + index[i]] = 1.0F;
    }
  }

 private:
  const std::int64_t n_, depth_;
};

void check_indices(const char* op, const std::int32_t* index, std::int64_t n, std::int64_t rows) {
  for (std::int64_t i = 0; i < n; ++i) {
    MIXFLOW_CHECK(0 <= index[i] && index[i] < rows,
                  std::string(op) + ": index " + std::to_string(index[i]) + " at position " +
                      std::to_string(i) + ", of " + std::to_string(rows) + " rows");
  }
}

class Gather final : public Kernel {
 public:
  Gather(std::int64_t rows, std::int64_t width, std::int64_t n, int threads)
      : rows_(rows), width_(width), n_(n), threads_(n * width >= kParallelElements ? threads : 1) {}

  void run(const std::byte* const* in, std::byte* const* out, std::byte*) const override {
    const Word* table = words(in[0]);
    const auto* index = reinterpret_cast<const std::int32_t*>(in[1]);
    Word* to = words(out[0]);
    check_indices("gather", index, n_, rows_);
    if (width_ == 0) return;
    split(n_, threads_, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t i = first; i < last; ++i) {
        std::memcpy(to + i * width_, table + index[i] * width_, bytes(width_));
      }
    });
  }

 private:
  const std::int64_t rows_, width_, n_;
  const int threads_;
};

class ScatterAdd final : public Kernel {
 public:
  ScatterAdd(std::int64_t rows, std::int64_t width, std::int64_t n, int threads)
      : rows_(rows), width_(width), n_(n), threads_(threads), add_(row_kernels().add) {}

  void run(const std::byte* const* in, std::byte* const* out, std::byte*) const override {
    const auto* updates = reinterpret_cast<const float*>(in[0]);
    const auto* index = reinterpret_cast<const std::int32_t*>(in[1]);
    auto* to = reinterpret_cast<float*>(out[0]);
    check_indices("scatter_add", index, n_, rows_);
    zero(words(out[0]), rows_ * width_, threads_);
    // Threads share the columns: rows may repeat, and each is summed in the order of the updates.
    split(width_, n_ * width_ >= kParallelElements ? threads_ : 1,
          [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t i = 0; i < n_; ++i) {
              add_(to + index[i] * width_ + first, updates + i * width_ + first, last - first);
            }
          });
  }

 private:
  const std::int64_t rows_, width_, n_;
  const int threads_;
  void (*const add_)(float*, const float*, std::int64_t);
};

}  // namespace

std::unique_ptr<Kernel> make_copy(std::vector<StridedCopy> copies, std::int64_t zero_elements,
                                  int threads) {
  return std::make_unique<Copy>(copies, zero_elements, threads);
}

std::unique_ptr<Kernel> make_fill(std::uint32_t bits, std::int64_t elements, int threads) {
  return std::make_unique<Fill>(bits, elements, threads);
}

std::unique_ptr<Kernel> make_iota(std::int64_t outer, std::int64_t size, std::int64_t inner,
                                  bool as_float) {
  if (as_float) return std::make_unique<Iota<float>>(outer, size, inner);
  return std::make_unique<Iota<std::int32_t>>(outer, size, inner);
}

std::unique_ptr<Kernel> make_convert(std::int64_t elements, bool to_float) {
  return std::make_unique<Convert>(elements, to_float);
}

std::unique_ptr<Kernel> make_one_hot(std::int64_t n, std::int64_t depth) {
  return std::make_unique<OneHot>(n, depth);
}

std::unique_ptr<Kernel> make_gather(std::int64_t rows, std::int64_t width, std::int64_t n,
                                    int threads) {
  return std::make_unique<Gather>(rows, width, n, threads);
}

std::unique_ptr<Kernel> make_scatter_add(std::int64_t rows, std::int64_t width, std::int64_t n,
                                         int threads) {
  return std::make_unique<ScatterAdd>(rows, width, n, threads);
}

}  // namespace mixflow
