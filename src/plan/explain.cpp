// What a plan tells about itself: what is alive at its peak, who made it and who reads it last, and
// how much memory each phase of a meta-step needs.
#include <algorithm>
#include <string_view>

#include "plan/body_planner.h"

namespace mixflow {

std::string BodyPlanner::value_name(Id id) const {
  const Value& value = g_.values[static_cast<std::size_t>(id)];
  std::string name = value.name;
  if (const Node* node = g_.producer(id)) {
    if (name.empty()) name = std::string(node->op->name);
    if (!node->label.empty()) name = node->label + ": " + name;
  }
  return name + " " + to_string(value.type);
}

std::int64_t BodyPlanner::alive_bytes(std::int32_t time) const {
  std::int64_t bytes = 0;
  for (std::size_t s = 0; s < storages_.size(); ++s) {
    const bool alive = storages_[s].start <= time && time <= storages_[s].end && pinned_[s] < 0;
    bytes += alive ? aligned(storages_[s].bytes) : 0;
  }
  return bytes;
}

void BodyPlanner::list_peak() {
  std::int32_t fullest = 0;
  std::int64_t most = -1;
  for (std::int32_t time = 0; time <= end_; ++time) {
    const std::int64_t bytes = alive_bytes(time);
    if (bytes > most) {
      most = bytes;
      fullest = time;
    }
  }
  const auto node_name = [&](std::int32_t time) -> std::string {
    if (time >= end_) return "result";
    const Node& node = g_.nodes[static_cast<std::size_t>(order_[static_cast<std::size_t>(time)])];
    return (node.label.empty() ? "" : node.label + ": ") + std::string(node.op->name);
  };
  const auto offset = [&](std::size_t s) { return storages_[s].offset; };
  for (std::size_t s = 0; s < storages_.size(); ++s) {
    const Storage& storage = storages_[s];
    if (pinned_[s] >= 0 || storage.bytes == 0 || storage.start > fullest || storage.end < fullest)
      continue;
    const LoopPlan* loop = nullptr;
    for (std::size_t i = 0; i < loops_.size(); ++i) {
      if (loop_storage_[i] == static_cast<std::int32_t>(s)) loop = loops_[i].get();
    }
    if (!loop) {
      const std::string name =
          storage_value_[s] == kNone ? storage_name_[s] : value_name(storage_value_[s]);
      body_->peak.push_back(
          {name, storage.bytes, offset(s), node_name(storage.start), node_name(storage.end)});
      continue;
    }
    for (Live live : loop->fullest().peak) {
      live.offset += offset(s);
      if (loop->threads > 1) {
        live.name += " (x " + std::to_string(loop->threads) + " threads)";
        live.bytes *= loop->threads;
      }
      body_->peak.push_back(std::move(live));
    }
  }
  std::stable_sort(body_->peak.begin(), body_->peak.end(),
                   [](const Live& a, const Live& b) { return a.bytes > b.bytes; });
}

void BodyPlanner::list_alive() {
  std::vector<std::int64_t> change(static_cast<std::size_t>(end_) + 2, 0);
  for (std::size_t s = 0; s < storages_.size(); ++s) {
    const Storage& storage = storages_[s];
    if (pinned_[s] >= 0 || storage.end < storage.start) continue;
    change[static_cast<std::size_t>(storage.start)] += aligned(storage.bytes);
    change[static_cast<std::size_t>(std::min(storage.end, end_)) + 1] -= aligned(storage.bytes);
  }
  std::int64_t bytes = 0;
  std::size_t instr = 0;
  for (std::int32_t time = 0; time < end_ && instr < body_->instrs.size(); ++time) {
    bytes += change[static_cast<std::size_t>(time)];
    if (order_[static_cast<std::size_t>(time)] != body_->instrs[instr].node) continue;
    body_->alive_bytes.push_back(bytes);
    ++instr;
  }
}

std::string phase_of(const std::string& label) {
  constexpr std::string_view kBar = " bar";
  std::string phase = label.substr(0, label.find('/'));
  if (label.ends_with(kBar) && !phase.ends_with(kBar)) phase += kBar;
  return phase;
}

std::string BodyPlanner::phase_at(std::int32_t time) const {
  if (time >= end_) return "";
  const std::int32_t node = order_[static_cast<std::size_t>(time)];
  return phase_of(g_.nodes[static_cast<std::size_t>(node)].label);
}

namespace {

// Of both bodies of a loop, whose iterations follow each other: the larger of their bytes.
std::vector<Phase> phases_of(const LoopPlan& loop) {
  std::vector<Phase> phases = loop.body->phases;
  for (const Phase& phase : loop.last->phases) {
    const auto found = std::ranges::find(phases, phase.name, &Phase::name);
    if (found == phases.end()) {
      phases.push_back(phase);
      continue;
    }
    found->peak_bytes = std::max(found->peak_bytes, phase.peak_bytes);
    found->kept_bytes = std::max(found->kept_bytes, phase.kept_bytes);
  }
  return phases;
}

}  // namespace

void BodyPlanner::list_phases() {
  const auto phase_named = [&](const std::string& name) -> Phase& {
    auto& phases = body_->phases;
    const auto found = std::ranges::find(phases, name, &Phase::name);
    return found != phases.end() ? *found : phases.emplace_back(Phase{.name = name});
  };
  std::size_t instr = 0;
  for (std::int32_t time = 0; time < end_ && instr < body_->instrs.size(); ++time) {
    if (order_[static_cast<std::size_t>(time)] != body_->instrs[instr].node) continue;
    const LoopPlan* loop = loops_[instr++].get();
    const std::string name = phase_at(time);
    const std::int64_t bytes = alive_bytes(time);
    if (loop && name.empty()) {  // the loop over tasks: its phases are those of its body
      const std::int64_t inside = loop->workspace_stride * loop->threads;
      for (const Phase& phase : phases_of(*loop)) {
        Phase& own = phase_named(phase.name);
        own.peak_bytes =
            std::max(own.peak_bytes, bytes - inside + loop->threads * phase.peak_bytes);
        own.kept_bytes += loop->threads * phase.kept_bytes;
      }
      continue;
    }
    Phase& own = phase_named(name);
    own.peak_bytes = std::max(own.peak_bytes, bytes);
  }
  for (std::size_t s = 0; s < storages_.size(); ++s) {
    const Storage& storage = storages_[s];
    if (pinned_[s] >= 0 || storage.start >= end_ || storage.end >= end_) continue;
    const std::string made = phase_at(storage.start), read = phase_at(storage.end);
    if (!made.empty() && !read.empty() && made != read)
      phase_named(made).kept_bytes += storage.bytes;
  }
}

}  // namespace mixflow
