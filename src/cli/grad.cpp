#include <cstdio>

#include "cli/commands.h"
#include "train/exchange.h"

namespace mixflow {

int run(const GradCommand& o) {
  const GradReport report = meta_gradient(load(o), {.in = o.in, .out = o.out});
  std::printf("%s%s", o.json ? to_json(report).c_str() : to_text(report).c_str(),
              o.json ? "\n" : "");
  return 0;
}

}  // namespace mixflow
