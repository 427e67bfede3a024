#include "ops/op_list.h"

namespace mixflow {

std::span<const OpDef* const> all_ops() {
#define X(name) &op::k_##name,
  static constexpr const OpDef* kAll[] = {MIXFLOW_PRIMITIVE_OPS(X)};
#undef X
  return kAll;
}

}  // namespace mixflow
