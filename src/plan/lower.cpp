#include "plan/lower.h"

#include <cstring>
#include <vector>

#include "ops/fused_lower.h"
#include "ops/op_list.h"
#include "plan/body.h"
#include "util/error.h"

namespace mixflow {
namespace {

std::vector<Type> types_of(const Graph& graph, const std::vector<Id>& ids) {
  std::vector<Type> types;
  for (const Id id : ids) types.push_back(graph.type(id));
  return types;
}

std::int64_t wide_bytes(const Type& type) { return aligned(type.elements() * std::int64_t{8}); }

void widen(const std::byte* from, double* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    std::int32_t value;
    std::memcpy(&value, from + i * 4, 4);
    to[i] = value;
  }
}

// A primitive in float64: the op's reference, with i32 operands widened into scratch. The result
// goes through scratch too, since a reference function may not be called with its output over an
// input.
class ReferenceKernel final : public Kernel {
 public:
  ReferenceKernel(const OpDef& op, std::vector<Type> in, Type out, Attrs attrs, int threads)
      : Kernel(scratch_for(in, out)),
        op_(op),
        in_(std::move(in)),
        out_(std::move(out)),
        attrs_(std::move(attrs)),
        threads_(threads) {
    MIXFLOW_CHECK(in_.size() <= kMaxInputs, "too many operands for the reference kernel");
  }

  void run(const std::byte* const* in, std::byte* const* out, std::byte* scratch) const override {
    const double* pointers[kMaxInputs];
    auto* result = reinterpret_cast<double*>(scratch);
    scratch += wide_bytes(out_);
    for (std::size_t i = 0; i < in_.size(); ++i) {
      pointers[i] = reinterpret_cast<const double*>(in[i]);
      if (is_float(in_[i].dtype)) continue;
      auto* wide = reinterpret_cast<double*>(scratch);
      widen(in[i], wide, in_[i].elements());
      pointers[i] = wide;
      scratch += wide_bytes(in_[i]);
    }
    op_.ref({.in_types = in_,
             .in = {pointers, in_.size()},
             .out_type = out_,
             .out = result,
             .attrs = attrs_,
             .threads = threads_});
    if (!out[0]) return;
    if (is_float(out_.dtype)) {
      std::memcpy(out[0], result, static_cast<std::size_t>(out_.bytes()));
      return;
    }
    for (std::int64_t i = 0; i < out_.elements(); ++i) {
      const auto value = static_cast<std::int32_t>(result[i]);
      std::memcpy(out[0] + i * 4, &value, 4);
    }
  }

 private:
  static constexpr std::size_t kMaxInputs = 64;

  static std::int64_t scratch_for(const std::vector<Type>& in, const Type& out) {
    std::int64_t bytes = wide_bytes(out);
    for (const Type& type : in) bytes += is_float(type.dtype) ? 0 : wide_bytes(type);
    return bytes;
  }

  const OpDef& op_;
  const std::vector<Type> in_;
  const Type out_;
  const Attrs attrs_;
  const int threads_;
};

// A fused node in float64: its body node by node, every value in scratch.
class ReferenceFusedKernel final : public Kernel {
 public:
  explicit ReferenceFusedKernel(GraphPtr body)
      : Kernel(scratch_for(*body)), body_(std::move(body)) {
    std::int64_t offset = 0;
    offsets_.assign(body_->values.size(), -1);
    for (const Node& node : body_->nodes) {
      MIXFLOW_CHECK(node.in.size() <= kMaxInputs && node.op->ref,
                    "not a primitive in a fused body");
      std::vector<Type> in;
      for (const Id id : node.in) in.push_back(body_->type(id));
      in_types_.push_back(std::move(in));
      offsets_[static_cast<std::size_t>(node.out[0])] = offset;
      offset += wide_bytes(body_->type(node.out[0]));
    }
  }

  void run(const std::byte* const* in, std::byte* const* out, std::byte* scratch) const override {
    const auto pointer = [&](Id id) {
      const Value& value = body_->values[static_cast<std::size_t>(id)];
      return reinterpret_cast<const double*>(
          value.node < 0 ? in[value.index] : scratch + offsets_[static_cast<std::size_t>(id)]);
    };
    for (std::size_t i = 0; i < body_->nodes.size(); ++i) {
      const Node& node = body_->nodes[i];
      const double* pointers[kMaxInputs];
      for (std::size_t k = 0; k < node.in.size(); ++k) pointers[k] = pointer(node.in[k]);
      auto* result =
          reinterpret_cast<double*>(scratch + offsets_[static_cast<std::size_t>(node.out[0])]);
      node.op->ref({.in_types = in_types_[i],
                    .in = {pointers, node.in.size()},
                    .out_type = body_->type(node.out[0]),
                    .out = result,
                    .attrs = node.attrs});
    }
    for (std::size_t j = 0; j < body_->outputs.size(); ++j) {
      if (!out[j]) continue;
      const Id id = body_->outputs[j];
      std::memmove(out[j], pointer(id), static_cast<std::size_t>(body_->type(id).bytes()));
    }
  }

 private:
  static constexpr std::size_t kMaxInputs = 64;

  static std::int64_t scratch_for(const Graph& body) {
    std::int64_t bytes = 0;
    for (const Node& node : body.nodes) bytes += wide_bytes(body.type(node.out[0]));
    return bytes;
  }

  const GraphPtr body_;
  std::vector<std::vector<Type>> in_types_;
  std::vector<std::int64_t> offsets_;
};

bool has_f64(const std::vector<Type>& types) {
  for (const Type& type : types) {
    if (type.dtype == DType::f64) return true;
  }
  return false;
}

}  // namespace

std::shared_ptr<const Kernel> lower_node(const Graph& graph, const Node& node, int threads,
                                         bool bf16) {
  std::vector<Type> in = types_of(graph, node.in);
  std::vector<Type> out = types_of(graph, node.out);
  if (has_f64(in) || has_f64(out)) {
    if (node.op == &op::k_fused)
      return std::make_shared<ReferenceFusedKernel>(region_of(node)->body);
    return std::make_shared<ReferenceKernel>(*node.op, std::move(in), std::move(out[0]), node.attrs,
                                             threads);
  }
  MIXFLOW_CHECK(node.op->lower, "no lowering for op " + std::string(node.op->name));
  return node.op->lower(
      {.in = in, .out = out, .attrs = node.attrs, .threads = threads, .bf16 = bf16});
}

Cost cost_of(const Graph& graph, const Node& node) {
  Cost total;
  if (node.op == &op::k_fused) {
    const Graph& body = *region_of(node)->body;
    for (const Node& inner : body.nodes) total.flop += cost_of(body, inner).flop;
    for (const Id id : node.in) total.bytes_read += graph.type(id).bytes();
    for (const Id id : node.out) total.bytes_written += graph.type(id).bytes();
    return total;
  }
  if (!node.op->cost) return total;
  return node.op->cost(types_of(graph, node.in), graph.type(node.out[0]), node.attrs);
}

bool stores_null(const Node& node) { return node.op == &op::k_fused; }

std::vector<std::uint32_t> overwritable(const Node& node) {
  if (node.op == &op::k_fused) return fused_may_overwrite(node);
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < node.in.size() && i < 32; ++i) {
    if (may_overwrite(*node.op, node.in.size(), i)) bits |= std::uint32_t{1} << i;
  }
  return {bits};
}

}  // namespace mixflow
