// Everything is done by Builder::emit; here is the walk over bodies. A region is shared by the
// nodes that may be merged, so it is rebuilt once, and one that comes out as it was is kept: equal
// nodes stay equal.
#include <memory>
#include <unordered_map>

#include "transform/rebuild.h"
#include "transform/transform.h"

namespace mixflow {
namespace {

using RegionPtr = std::shared_ptr<const Region>;

class Simplify {
 public:
  GraphPtr run(const Graph& graph) {
    return rebuild(graph, [this](Builder& b, const Node& node, std::span<const Id> in) {
      if (!node.attrs.region) return Ids{b.emit(*node.op, in, node.attrs)};
      return b.emit_region(*node.op, in, region(node.attrs.region));
    });
  }

 private:
  RegionPtr region(const RegionPtr& old) {
    const auto known = done_.find(old.get());
    if (known != done_.end()) return known->second;
    RegionPtr result = old;
    if (const GraphPtr body = run(*old->body); !same_graph(*body, *old->body)) {
      auto changed = std::make_shared<Region>(*old);
      changed->body = body;
      result = std::move(changed);
    }
    done_.emplace(old.get(), result);
    return result;
  }

  std::unordered_map<const Region*, RegionPtr> done_;
};

}  // namespace

GraphPtr simplify(const Graph& graph) { return Simplify().run(graph); }

}  // namespace mixflow
