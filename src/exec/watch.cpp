#include "exec/watch.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "graph/op.h"
#include "ops/reference.h"
#include "util/finite.h"

namespace mixflow {
namespace {

// Fused kernels over more are named without their operands: they are computed anew in float64.
constexpr std::int64_t kMostElementsAnew = std::int64_t{1} << 22;

double element_of(const Type& type, const std::byte* data, std::size_t index) {
  if (type.dtype == DType::f64) {
    double value;
    std::memcpy(&value, data + index * sizeof value, sizeof value);
    return value;
  }
  if (type.dtype == DType::i32) {
    std::int32_t value;
    std::memcpy(&value, data + index * sizeof value, sizeof value);
    return value;
  }
  float value;
  std::memcpy(&value, data + index * sizeof value, sizeof value);
  return static_cast<double>(value);
}

std::optional<std::size_t> bad_element(const Type& type, const std::byte* data) {
  const auto count = static_cast<std::size_t>(type.elements());
  if (type.dtype == DType::f32)
    return first_non_finite(std::span(reinterpret_cast<const float*>(data), count));
  if (type.dtype == DType::f64)
    return first_non_finite(std::span(reinterpret_cast<const double*>(data), count));
  return std::nullopt;
}

bool is_fused(const Node& node) { return region_of(node) != nullptr; }

std::string ops_in(const Graph& body) {
  std::string names;
  for (const Node& node : body.nodes) {
    const std::string name(node.op->name);
    if (names.find(name) == std::string::npos) names += (names.empty() ? "" : ", ") + name;
  }
  return names;
}

// The first primitive of a fused kernel whose result is not finite, computed from the kernel's
// inputs with each result rounded as the kernel's are. False where all are finite so.
bool find_in_body(const Graph& body, const std::vector<std::vector<std::byte>>& inputs,
                  Origin& origin) {
  std::vector<Tensor64> values(body.values.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Id id = body.inputs[i];
    Tensor64& value = values[static_cast<std::size_t>(id)];
    value.resize(static_cast<std::size_t>(body.type(id).elements()));
    for (std::size_t e = 0; e < value.size(); ++e)
      value[e] = element_of(body.type(id), inputs[i].data(), e);
  }
  for (const Node& node : body.nodes) {
    std::vector<const double*> in;
    for (const Id id : node.in) in.push_back(values[static_cast<std::size_t>(id)].data());
    const Type& type = body.type(node.out[0]);
    Tensor64& out = values[static_cast<std::size_t>(node.out[0])];
    out.resize(static_cast<std::size_t>(type.elements()));
    run_reference(body, node, in, out.data());
    if (type.dtype == DType::f32) {
      for (double& x : out) x = static_cast<double>(static_cast<float>(x));
    }
    const auto bad = first_non_finite(std::span<const double>(out));
    if (!bad || node.in.empty()) continue;
    origin.op = std::string(node.op->name);
    if (!node.label.empty()) origin.label = node.label;
    origin.type = type;
    origin.element = static_cast<std::int64_t>(*bad);
    origin.value = out[*bad];
    for (const Id id : node.in) {
      const Tensor64& operand = values[static_cast<std::size_t>(id)];
      if (operand.size() == out.size()) origin.operands.push_back(operand[*bad]);
    }
    if (origin.operands.size() != node.in.size()) origin.operands.clear();
    return true;
  }
  return false;
}

}  // namespace

std::optional<Origin> NonFiniteWatch::origin_of(const std::byte* data, std::int64_t bytes) const {
  std::int32_t event = event_at(data, bytes);
  if (event < 0) return std::nullopt;
  while (events_[static_cast<std::size_t>(event)].cause >= 0)
    event = events_[static_cast<std::size_t>(event)].cause;
  return events_[static_cast<std::size_t>(event)].origin;
}

void NonFiniteWatch::watch_input(int index, const Type& type, const std::byte* data) {
  const auto bad = bad_element(type, data);
  if (!bad) return clear(data, type.bytes());
  const double value = element_of(type, data, *bad);
  Event event{.nan = std::isnan(value)};
  event.origin = {
      .input = index, .type = type, .element = static_cast<std::int64_t>(*bad), .value = value};
  events_.push_back(std::move(event));
  mark(data, type.bytes(), static_cast<std::int32_t>(events_.size()) - 1);
}

void NonFiniteWatch::enter(std::size_t thread, const Node& loop, std::int64_t index) {
  const Region& region = *region_of(loop);
  loops_[thread].push_back({loop.label, index, region.n, region.parallel});
}

void NonFiniteWatch::leave(std::size_t thread) { loops_[thread].pop_back(); }

void NonFiniteWatch::fork() {
  for (std::size_t t = 1; t < loops_.size(); ++t) loops_[t] = loops_[0];
}

NonFiniteWatch::Watched NonFiniteWatch::before(const Graph& graph, const Node& node,
                                               std::byte* const* in) const {
  Watched watched;
  std::int64_t elements = 0;
  {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < node.in.size(); ++i) {
      const Type& type = graph.type(node.in[i]);
      elements += type.elements();
      if (in[i] == nullptr || !is_float(type.dtype)) continue;
      const std::int32_t event = event_at(in[i], type.bytes());
      if (event < 0) continue;
      const bool better =
          watched.cause < 0 || (events_[static_cast<std::size_t>(event)].nan &&
                                !events_[static_cast<std::size_t>(watched.cause)].nan);
      if (better) watched.cause = event;
    }
  }
  if (watched.cause >= 0 || !is_fused(node) || elements > kMostElementsAnew) return watched;
  for (std::size_t i = 0; i < node.in.size(); ++i) {
    const std::int64_t bytes = graph.type(node.in[i]).bytes();
    watched.inputs.emplace_back(in[i], in[i] + bytes);
  }
  return watched;
}

void NonFiniteWatch::after(std::size_t thread, const Graph& graph, const Node& node,
                           const Watched& watched, std::byte* const* out) {
  for (std::size_t j = 0; j < node.out.size(); ++j) {
    const Type& type = graph.type(node.out[j]);
    if (out[j] == nullptr || !is_float(type.dtype)) continue;
    const auto bad = bad_element(type, out[j]);
    const bool constant = node.in.empty() && watched.inputs.empty();  // an infinity that is meant
    if (!bad || constant) {
      const std::lock_guard lock(mutex_);
      clear(out[j], type.bytes());
      continue;
    }
    const double value = element_of(type, out[j], *bad);
    Event event{.cause = watched.cause, .nan = std::isnan(value)};
    if (watched.cause < 0) {
      event.origin = {.op = std::string(node.op->name),
                      .label = node.label,
                      .loops = loops_[thread],
                      .type = type,
                      .element = static_cast<std::int64_t>(*bad),
                      .value = value};
      if (is_fused(node)) {
        event.origin.op = ops_in(*region_of(node)->body);
        if (!watched.inputs.empty())
          find_in_body(*region_of(node)->body, watched.inputs, event.origin);
      }
    }
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
    mark(out[j], type.bytes(), static_cast<std::int32_t>(events_.size()) - 1);
  }
}

void NonFiniteWatch::copied(const std::byte* from, const std::byte* to, std::int64_t bytes) {
  const std::lock_guard lock(mutex_);
  const std::int32_t event = event_at(from, bytes);
  if (event >= 0) {
    mark(to, bytes, event);
  } else {
    clear(to, bytes);
  }
}

void NonFiniteWatch::added(const std::byte* part, const std::byte* sum, std::int64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (event_at(sum, bytes) >= 0) return;
  const std::int32_t event = event_at(part, bytes);
  if (event >= 0) mark(sum, bytes, event);
}

std::int32_t NonFiniteWatch::event_at(const std::byte* data, std::int64_t bytes) const {
  auto at = marks_.upper_bound(data);
  if (at != marks_.begin() && std::prev(at)->second.end > data) --at;
  std::int32_t found = -1;
  for (; at != marks_.end() && at->first < data + bytes; ++at) {
    const std::int32_t event = at->second.event;
    if (events_[static_cast<std::size_t>(event)].nan) return event;
    if (found < 0) found = event;
  }
  return found;
}

void NonFiniteWatch::mark(const std::byte* data, std::int64_t bytes, std::int32_t event) {
  clear(data, bytes);
  if (bytes > 0) marks_[data] = {data + bytes, event};
}

// What sticks out on either side keeps its mark.
void NonFiniteWatch::clear(const std::byte* data, std::int64_t bytes) {
  const std::byte* const end = data + bytes;
  auto at = marks_.upper_bound(data);
  if (at != marks_.begin() && std::prev(at)->second.end > data) --at;
  while (at != marks_.end() && at->first < end) {
    const auto [first, mark] = *at;
    at = marks_.erase(at);
    if (first < data) marks_[first] = {data, mark.event};
    if (mark.end > end) marks_[end] = mark;
  }
}

}  // namespace mixflow
