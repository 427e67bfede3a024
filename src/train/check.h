// `mixflow check`: is the meta-gradient right? Every exact mode and remat choice against mixed
// mode, central differences, and the fast path against float64; on one meta-batch, with the
// starting values.
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
struct CheckReport {
  std::vector<CheckLine> lines;
  bool ok() const;
};
std::string to_json(const CheckReport& report);
std::string to_text(const CheckReport& report);

CheckReport check(const Config& config);

}  // namespace mixflow
