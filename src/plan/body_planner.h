// How one body is planned, for one order of its nodes. Internal to plan/.
//
// Time is the position in the order; the body's end is one more. Every value that is computed
// belongs to a storage (its own, or that of a dying operand it overwrites), or is written straight
// to the destination of an output. Storages then get memory: a donated slot where one is free, else
// an offset in the workspace. The rules and what each is worth in memory: src/README.md, "Planner".
#pragma once

#include <functional>
#include <map>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "plan/lower.h"
#include "plan/memory.h"
#include "plan/planner.h"
#include "plan/schedule.h"

namespace mixflow {

class Planner {
 public:
  explicit Planner(const PlanOptions& o) : options(o) {}

  BodyPtr plan(const GraphPtr& graph, const std::vector<InputContract>& inputs,
               const std::vector<OutputContract>& outputs, int threads);
  std::shared_ptr<const Kernel> kernel(const Graph& graph, std::int32_t node, int threads);
  // As in last_iteration.h; the same graph for the same question.
  GraphPtr last_iteration(const std::shared_ptr<const Region>& region,
                          const std::vector<bool>& dead);
  // By output, as overwritable() of lower.h; nothing where memory is not shared.
  const std::vector<std::uint32_t>& may_overwrite(const Graph& graph, std::int32_t node);

  const PlanOptions options;

 private:
  std::unordered_map<std::string, BodyPtr> known_;
  std::map<std::tuple<const Graph*, std::int32_t, int>, std::shared_ptr<const Kernel>> kernels_;
  std::map<std::pair<const Graph*, std::int32_t>, std::vector<std::uint32_t>> overwrites_;
  std::map<std::pair<std::shared_ptr<const Region>, std::vector<bool>>, GraphPtr> last_iterations_;
};

class BodyPlanner {
 public:
  BodyPlanner(Planner& planner, GraphPtr graph, const std::vector<InputContract>& inputs,
              const std::vector<OutputContract>& outputs, int threads, Order order);
  BodyPtr run();

 private:
  // A stack of a scan's carries that begins with the scan's init instead of a copy of it.
  struct Edge {
    Id init = kNone;
    std::int32_t carry = -1;
    std::int64_t index = 0;
    std::int64_t shift = 0;
  };
  struct Use {
    std::int32_t start = 0, end = 0;
  };

  // analysis
  void find_roots();
  void find_lifetimes();
  void find_edges();
  // How often the node reads a root, as an operand or as the edge of one.
  std::int32_t occurrences(const Node& node, Id root) const;
  std::int32_t readers(Id root) const { return reader_count_[static_cast<std::size_t>(root)]; }

  // placing
  void place_node(std::int32_t time);
  void place_primitive(std::int32_t time);
  // place_loops.cpp
  void place_loop(std::int32_t time);
  bool splits(const Region& region) const;
  GraphPtr last_iteration(const Node& node, LoopPlan& loop);
  void plan_bodies(const GraphPtr& last, LoopPlan& loop, const std::vector<InputContract>& in,
                   const std::vector<OutputContract>& out);
  void place_xs(const Node& node, std::int32_t time, LoopPlan& loop,
                std::vector<InputContract>& contracts);
  void place_carry(const Node& node, std::int32_t time, LoopPlan& loop, std::int32_t k,
                   OutputContract& contract, std::vector<bool>& xs_taken);
  bool place_where_it_ends(const Node& node, const LoopPlan& loop, std::int32_t xs, Id final,
                           std::int32_t time);
  void place_ys(const Node& node, std::int32_t time, LoopPlan& loop, std::int32_t j,
                OutputContract& contract, std::vector<bool>& xs_taken);
  std::int32_t donated_xs_for(const Node& node, const LoopPlan& loop, Id body_output,
                              std::int64_t bytes, bool for_carry,
                              const std::vector<bool>& xs_taken) const;

  // body_planner.cpp
  // Tries to give `value`, made at `time`, the destination of an output. `overwrites(root)`: its
  // node may write over an input of the body that it reads for the last time.
  bool place_at_destination(Id value, std::int32_t time, bool stores_null,
                            const std::function<bool(Id)>& overwrites);
  bool join(Id value, Id root, std::int32_t time);
  bool outlives_slot(Id value, std::int32_t slot) const;
  std::int32_t add_storage(std::int64_t bytes, std::int32_t start, std::int32_t end, Id value,
                           std::string name = {});
  bool claim(Id root);

  // finishing
  void use_slots();
  void finish_places();
  void copy_outputs();
  void list_freed();

  // explain.cpp
  void list_peak();
  void list_phases();
  void list_alive();
  std::int64_t alive_bytes(std::int32_t time) const;
  std::string phase_at(std::int32_t time) const;
  Place storage_place(std::int32_t storage) const;
  std::string value_name(Id id) const;

  Id root(Id id) const { return root_[static_cast<std::size_t>(id)]; }
  std::int32_t& last(Id id) { return last_[static_cast<std::size_t>(id)]; }
  std::int32_t& storage(Id id) { return storage_of_[static_cast<std::size_t>(id)]; }
  Place& place(Id id) { return body_->places[static_cast<std::size_t>(id)]; }
  const Edge* edge(Id id) const;

  Planner& planner_;
  const GraphPtr graph_;
  const Graph& g_;
  const std::vector<InputContract>& inputs_;
  const std::vector<OutputContract>& outputs_;
  const int threads_;
  const std::vector<std::int32_t> order_;
  const std::int32_t end_;  // the time of the body's end

  std::vector<Id> root_;
  std::vector<std::int32_t> last_;          // by root: time of the last read, -1: never
  std::vector<std::int32_t> reader_count_;  // by root: nodes that read it
  std::vector<std::int32_t> storage_of_;    // by root
  std::unordered_map<Id, Edge> edges_;      // by ys value
  std::vector<Storage> storages_;
  std::vector<Id> storage_value_;            // first value in it, or kNone
  std::vector<std::string> storage_name_;    // of storages that hold no value
  std::vector<std::int32_t> pinned_;         // by storage: input whose slot it lives in, or -1
  std::vector<std::vector<Use>> slot_uses_;  // by input
  std::vector<std::int32_t> claimed_;        // roots whose memory the current node has given away
  // Storages whose offsets instructions need once they are known.
  std::vector<std::int32_t> scratch_storage_, loop_storage_;
  std::vector<std::vector<std::int32_t>> private_storage_;
  std::vector<std::shared_ptr<LoopPlan>> loops_;
  std::vector<std::int32_t> staged_storage_;

  std::shared_ptr<Body> body_;
};

}  // namespace mixflow
