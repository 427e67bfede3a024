#include "train/check.h"

#include <cstdio>

#include "cli/commands.h"

namespace mixflow {

int run(const CheckCommand& o) {
  const CheckReport report = check(load(o));
  std::printf("%s%s", o.json ? to_json(report).c_str() : to_text(report).c_str(),
              o.json ? "\n" : "");
  return report.ok() ? 0 : 1;
}

}  // namespace mixflow
