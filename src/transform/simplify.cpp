// Everything is done by Builder::emit; here is the walk over bodies.
#include "transform/rebuild.h"
#include "transform/transform.h"

namespace mixflow {
namespace {

class Simplify {
 public:
  GraphPtr run(const Graph& graph) {
    return rebuild(graph, [this](Builder& b, const Node& node, std::span<const Id> in) {
      if (!node.attrs.region) return Ids{b.emit(*node.op, in, node.attrs)};
      const RegionPtr& old = node.attrs.region;
      return b.emit_region(*node.op, in,
                           regions_.get(old, [&] { return with_body(old, run(*old->body)); }));
    });
  }

 private:
  RegionCache regions_;
};

}  // namespace

GraphPtr simplify(const Graph& graph) { return Simplify().run(graph); }

}  // namespace mixflow
