// The command line: one file per subcommand.
#pragma once

#include <string>
#include <vector>

#include "config/over.h"

namespace CLI {
class App;
}

namespace mixflow {

// Parses, runs one subcommand and returns its exit code: 0 ok, 1 a failed check or run, 130
// interrupted. Everything that goes wrong is thrown (util/error.h), usage errors as UserError.
int run_cli(int argc, char** argv);

constexpr int kMostThreads = 1024;  // of --threads

// What every subcommand that reads a config takes.
struct CommonOptions {
  std::string config;
  std::vector<std::string> overrides;  // -s key.path=value
  int threads = -1;                    // -1: as the config says
  bool json = false;
};
Config load(const CommonOptions& options);
void add_common(CLI::App& command, CommonOptions& options);

// The same for the combinations of lists --over key.path=a,b,c (config/over.h).
std::vector<Combination> load_all(const CommonOptions& options,
                                  const std::vector<std::string>& lists);
void add_over(CLI::App& command, std::vector<std::string>& lists);

// Each adds its subcommand; `exit_code` is set when it has run.
void add_train(CLI::App& app, int& exit_code);
void add_plan(CLI::App& app, int& exit_code);
void add_bench(CLI::App& app, int& exit_code);
void add_sweep(CLI::App& app, int& exit_code);
void add_check(CLI::App& app, int& exit_code);
void add_grad(CLI::App& app, int& exit_code);
void add_report(CLI::App& app, int& exit_code);
void add_graph(CLI::App& app, int& exit_code);
void add_info(CLI::App& app, int& exit_code);

}  // namespace mixflow
