#include "graph/infer_region.h"

#include <string>

#include "util/error.h"

namespace mixflow {
namespace {

using Types = std::vector<Type>;

std::string place(std::string_view op, std::string_view what, std::size_t i) {
  return "[" + std::string(op) + "] " + std::string(what) + " " + std::to_string(i) + ": ";
}

void check_equal(std::string_view op, std::string_view what, std::size_t i, const Type& found,
                 const Type& expected) {
  MIXFLOW_CHECK(found == expected, place(op, what, i) + "got " + to_string(found) + ", expected " +
                                       to_string(expected));
}

void check_count(std::string_view op, std::string_view what, std::size_t found,
                 std::size_t expected) {
  MIXFLOW_CHECK(found == expected, "[" + std::string(op) + "] " + std::string(what) + ": got " +
                                       std::to_string(found) + ", expected " +
                                       std::to_string(expected));
}

struct Counts {
  std::size_t consts, carry, xs;
};

Types infer_scan(std::span<const Type> in, const Region& region, Counts count) {
  const Types body_in = input_types(*region.body);
  const Types body_out = output_types(*region.body);
  check_count("scan", "inputs", in.size(), count.consts + count.carry + count.xs);
  check_count("scan", "inputs of the body", body_in.size(), in.size());
  MIXFLOW_CHECK(body_out.size() >= count.carry,
                "[scan] the body returns fewer values than carries");
  Types out;
  for (std::size_t i = 0; i < in.size(); ++i) {
    const bool scanned = i >= count.consts + count.carry;
    check_equal("scan", "input", i, in[i], scanned ? stacked(body_in[i], region.n) : body_in[i]);
  }
  for (std::size_t j = 0; j < body_out.size(); ++j) {
    if (j < count.carry) check_equal("scan", "carry", j, body_out[j], body_in[count.consts + j]);
    out.push_back(j < count.carry ? body_out[j] : stacked(body_out[j], region.n));
  }
  return out;
}

Types infer_map(std::span<const Type> in, const Region& region, Counts count) {
  const Types body_in = input_types(*region.body);
  const Types body_out = output_types(*region.body);
  check_count("map", "inputs", in.size(), count.consts + count.carry + count.xs);
  check_count("map", "inputs of the body", body_in.size(), count.consts + count.xs);
  MIXFLOW_CHECK(body_out.size() >= count.carry, "[map] the body returns fewer values than sums");
  for (std::size_t i = 0; i < count.consts; ++i) {
    check_equal("map", "const", i, in[i], body_in[i]);
  }
  for (std::size_t i = 0; i < count.xs; ++i) {
    check_equal("map", "x", i, in[count.consts + count.carry + i],
                stacked(body_in[count.consts + i], region.n));
  }
  Types out;
  for (std::size_t j = 0; j < body_out.size(); ++j) {
    if (j < count.carry) check_equal("map", "sum", j, in[count.consts + j], body_out[j]);
    out.push_back(j < count.carry ? body_out[j] : stacked(body_out[j], region.n));
  }
  return out;
}

Types infer_grad(std::span<const Type> in, const Region& region, Counts count) {
  const Types body_in = input_types(*region.body);
  const Types body_out = output_types(*region.body);
  check_count("grad", "constants", count.consts, 0);
  check_count("grad", "inputs", in.size(), count.carry + count.xs);
  check_count("grad", "inputs of the body", body_in.size(), in.size());
  check_count("grad", "outputs of the body", body_out.size(), 1);
  MIXFLOW_CHECK(body_out[0].rank() == 0 && is_float(body_out[0].dtype),
                "[grad] the loss must be a float scalar, got " + to_string(body_out[0]));
  Types out{body_out[0]};
  for (std::size_t i = 0; i < in.size(); ++i) {
    check_equal("grad", "input", i, in[i], body_in[i]);
    if (i >= count.carry) continue;
    MIXFLOW_CHECK(is_float(in[i].dtype), place("grad", "theta", i) + "must be a float");
    out.push_back(in[i]);
  }
  return out;
}

Types infer_fused(std::span<const Type> in, const Region& region) {
  const Types body_in = input_types(*region.body);
  check_count("fused", "inputs of the body", body_in.size(), in.size());
  for (std::size_t i = 0; i < in.size(); ++i) check_equal("fused", "input", i, in[i], body_in[i]);
  return output_types(*region.body);
}

}  // namespace

Type stacked(const Type& type, std::int64_t n) {
  Type result = type;
  result.shape.insert(result.shape.begin(), n);
  return result;
}

Type sliced(const Type& type) {
  MIXFLOW_CHECK(type.rank() > 0, "a scalar has no leading axis to iterate over");
  Type result = type;
  result.shape.erase(result.shape.begin());
  return result;
}

std::vector<Type> input_types(const Graph& graph) {
  Types types;
  for (Id id : graph.inputs) types.push_back(graph.type(id));
  return types;
}

std::vector<Type> output_types(const Graph& graph) {
  Types types;
  for (Id id : graph.outputs) types.push_back(graph.type(id));
  return types;
}

std::vector<Type> infer_region(std::string_view op, std::span<const Type> in,
                               const Region& region) {
  MIXFLOW_CHECK(region.body != nullptr, "[" + std::string(op) + "] has no body");
  MIXFLOW_CHECK(
      region.n >= 0 && region.num_consts >= 0 && region.num_carry >= 0 && region.num_xs >= 0,
      "[" + std::string(op) + "] has a negative count");
  const Counts count{static_cast<std::size_t>(region.num_consts),
                     static_cast<std::size_t>(region.num_carry),
                     static_cast<std::size_t>(region.num_xs)};
  if (op == "scan") return infer_scan(in, region, count);
  if (op == "map") return infer_map(in, region, count);
  if (op == "grad") return infer_grad(in, region, count);
  MIXFLOW_CHECK(op == "fused", "unknown structural op " + std::string(op));
  return infer_fused(in, region);
}

}  // namespace mixflow
