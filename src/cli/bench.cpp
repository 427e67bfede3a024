#include "train/bench.h"

#include <cstdio>

#include "cli/commands.h"
#include "util/failure.h"
#include "util/file.h"
#include "util/memory.h"
#include "util/text.h"

namespace mixflow {

int run(const BenchCommand& o) {
  BenchOptions options = o.bench;
  options.memory_limit_bytes =
      parse_memory(o.memory_limit, usable_memory_bytes(), "bench: --memory-limit");
  const std::vector<Combination> combinations = load_all(o, o.over);
  // Before anything is measured: a path that cannot be written is an error now, not at the end.
  if (!o.csv.empty()) write_atomically(o.csv, std::string_view());
  if (!o.quiet) {
    options.progress = [](const std::string& line) {
      std::fprintf(stderr, "%s\n", visible(line).c_str());
    };
  }
  const BenchReport report = bench(combinations, options);
  if (!o.csv.empty()) write_atomically(o.csv, to_csv(report));
  std::printf("%s%s", o.json ? to_json(report).c_str() : to_text(report).c_str(),
              o.json ? "\n" : "");
  if (report.interrupted) return 130;
  if (!report.failures.empty()) throw NonFiniteError(join(report.failures, "\n"));
  return 0;
}

}  // namespace mixflow
