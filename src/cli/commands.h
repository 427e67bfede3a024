// What each subcommand can be asked for, and its run: one file per subcommand. How the options are
// called and checked is in subcommands.cpp alone.
#pragma once

#include <string>
#include <vector>

#include "config/over.h"
#include "report/report.h"
#include "train/bench.h"

namespace mixflow {

// What every subcommand that reads a config takes.
struct CommonOptions {
  std::string config;
  std::vector<std::string> overrides;  // -s key.path=value
  int threads = -1;                    // -1: as the config says
  bool json = false;
};
// Warnings go to the log, each once.
Config load(const CommonOptions& options);
// The same for the combinations of lists --over key.path=a,b,c (config/over.h).
std::vector<Combination> load_all(const CommonOptions& options,
                                  const std::vector<std::string>& lists);

struct TrainCommand : CommonOptions {
  std::string out, trace, outcome;
  bool resume = false, overwrite = false, schema = false, quiet = false;
};
struct PlanCommand : CommonOptions {
  std::vector<std::string> configs, over;
  bool explain = false;
};
struct BenchCommand : CommonOptions {
  std::vector<std::string> over;
  BenchOptions bench;
  std::string memory_limit = "80%", csv;
  bool quiet = false;
};
struct SweepCommand {
  std::string file, out, shard = "1/1", memory_limit = "80%";
  int jobs = 1;
  double stale_seconds = 120;
  int threads = 0;  // of a point; 0: the cores shared out to the jobs
  bool dry_run = false, retry_failed = false, quiet = false, json = false;
};
struct CheckCommand : CommonOptions {};
struct GradCommand : CommonOptions {
  std::string in, out;
};
struct ReportCommand {
  ReportOptions report;
  std::string format, agg = "mean", out;
  bool json = false;
};
struct GraphCommand : CommonOptions {
  std::string stage = "meta-grad", format = "text";
};
struct InfoCommand {
  int threads = 0;  // 0: all cores
  bool measure = false;
  bool json = false;
};

// Each returns the exit code (run_cli).
int run(const TrainCommand& o);
int run(const PlanCommand& o);
int run(const BenchCommand& o);
int run(const SweepCommand& o);
int run(const CheckCommand& o);
int run(const GradCommand& o);
int run(const ReportCommand& o);
int run(const GraphCommand& o);
int run(const InfoCommand& o);

}  // namespace mixflow
