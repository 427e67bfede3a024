// `mixflow check`: is the meta-gradient right? Every exact mode and remat choice against mixed
// mode, central differences, and the fast path against float64; on one meta-batch, with the
// starting values. With inner.optimizer.stop_denominator the meta-gradient is no derivative of the
// loss: central differences are left out, and the report says so.
#pragma once

#include <string>
#include <vector>

#include "config/config.h"

namespace mixflow {

struct CheckLine {
  std::string what;
  double error = 0;  // relative, worst tensor
  double tolerance = 0;
  std::string worst;  // the tensor that it is of
  bool ok() const { return error <= tolerance; }
};
// A comparison that means nothing for this config.
struct LeftOut {
  std::string what, why;
};
// One tensor's meta-gradient in bf16 beside that in float64.
struct Bf16Error {
  std::string tensor;
  double cosine = 1;
  double relative = 0;  // |a - b| / |b|
  double share = 0;     // of the norm of the gradients of its kind
};
struct CheckReport {
  std::vector<CheckLine> lines;
  std::vector<LeftOut> left_out;
  std::vector<Bf16Error> bf16;  // by tensor, with precision: bf16
  bool ok() const;
};
std::string to_json(const CheckReport& report);
std::string to_text(const CheckReport& report);

CheckReport check(const Config& config);

}  // namespace mixflow
