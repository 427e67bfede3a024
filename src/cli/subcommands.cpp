#include "cli/subcommands.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "cli/commands.h"
#include "config/schema.h"

namespace mixflow {
namespace {

// An option that may be given several times, with one value each.
CLI::Option* add_list(CLI::App& command, const std::string& name, std::vector<std::string>& values,
                      const std::string& what) {
  return command.add_option(name, values, what)->allow_extra_args(false)->take_all();
}

void add_threads(CLI::App& command, int& threads) {
  command.add_option("--threads", threads, "Number of threads (0: all cores)")
      ->check(CLI::Range(0, kMostThreads));
}

void add_json(CLI::App& command, bool& json) {
  command.add_flag("--json", json, "One machine-readable object on stdout");
}

void add_common(CLI::App& command, CommonOptions& options) {
  command.add_option("CONFIG", options.config, "YAML file that describes the experiment")
      ->required();
  add_list(command, "-s,--set", options.overrides, "Override a key of the config: key.path=value");
  add_threads(command, options.threads);
  add_json(command, options.json);
}

void add_over(CLI::App& command, std::vector<std::string>& lists) {
  add_list(command, "--over", lists,
           "One row per value, or per combination of several lists, the first varying slowest: "
           "key.path=a,b,c");
}

// Of the names of an enumeration.
template <class Names>
CLI::IsMember one_of(const Names& names) {
  return CLI::IsMember(std::vector<std::string>(std::begin(names), std::end(names)));
}

void describe(CLI::App& command, TrainCommand& o) {
  command.description("Meta-train; writes a run directory");
  add_common(command, o);
  command.get_option("CONFIG")->required(false);
  command.add_option("--out", o.out, "Run directory (default: runs/<name>)");
  CLI::Option* resume =
      command.add_flag("--resume", o.resume,
                       "Continue the run in the directory, bit for bit; CONFIG may be left out, or "
                       "be that directory");
  command
      .add_flag("--overwrite", o.overwrite,
                "Delete the run that is in the directory and begin anew")
      ->excludes(resume);
  command.add_option("--trace", o.trace,
                     "Write the second meta-step's kernels and memory to this file, in Chrome's "
                     "trace format");
  command.add_option("--outcome", o.outcome,
                     "Write how the run ended to this file, as JSON: code, message, step, memory");
  command.add_flag("--quiet", o.quiet, "No progress");
  command.add_flag("--schema", o.schema,
                   "Print every config key with its default (with --json: JSON Schema) and exit");
  command.footer(
      "Examples:\n"
      "  mixflow train configs/quickstart.yaml\n"
      "  mixflow train configs/quickstart.yaml -s inner.steps=5 -s gradient.mode=reverse --out "
      "runs/reverse\n"
      "  mixflow train runs/quickstart --resume");
}

void describe(CLI::App& command, PlanCommand& o) {
  command.description("Memory, FLOPs and predicted time of one meta-step; nothing is run");
  command.add_option("CONFIG", o.configs, "YAML files")->required();
  add_list(command, "-s,--set", o.overrides, "Override a key of the configs: key.path=value");
  add_over(command, o.over);
  add_threads(command, o.threads);
  command.add_flag("--explain", o.explain,
                   "List what is alive at the peak, who made it and who reads it last");
  add_json(command, o.json);
  command.footer(
      "Examples:\n"
      "  mixflow plan configs/quickstart.yaml --explain\n"
      "  mixflow plan configs/quickstart.yaml --over inner.steps=2,4,8 --over "
      "gradient.mode=reverse,mixed\n"
      "  mixflow plan configs/*.yaml -s gradient.mode=reverse --json");
}

void describe(CLI::App& command, BenchCommand& o) {
  command.description("Time and memory of one meta-step for every combination of some settings");
  add_common(command, o);
  add_over(command, o.over);
  command.add_option("--reps", o.bench.reps, "Repetitions of each combination")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command.add_option("--warmup", o.bench.warmup, "At least so many meta-steps of each before")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command
      .add_option("--memory-limit", o.memory_limit,
                  "What needs more is planned only; a share is of RAM, or of the control group's "
                  "limit where that is lower")
      ->capture_default_str();
  command.add_option("--csv", o.csv, "Also write one line per repetition to this file");
  command.add_flag("--profile", o.bench.profile,
                   "One more meta-step of each: time and GFLOP/s by op and by node");
  command.add_flag("--quiet", o.quiet, "No progress");
  command.footer(
      "Examples:\n"
      "  mixflow bench configs/quickstart.yaml --over inner.steps=2,4,8 --over "
      "gradient.mode=reverse,mixed\n"
      "  mixflow bench configs/quickstart.yaml --over 'gradient.remat={step: true},{step: false}' "
      "--json");
}

void describe(CLI::App& command, SweepCommand& o) {
  command.description("Train every point of a sweep; the same command again continues it");
  command.add_option("SWEEP", o.file, "YAML file: a base config and what is varied over it")
      ->required();
  command.add_option("--out", o.out, "Sweep directory (default: runs/<name>)");
  command.add_option("--jobs", o.jobs, "Points at a time, each with its share of the cores")
      ->check(CLI::Range(1, kMostThreads));
  command
      .add_option("--threads", o.threads,
                  "Threads of each point whose config leaves it open, for the whole sweep (0: "
                  "cores / jobs)")
      ->check(CLI::Range(0, kMostThreads));
  command.add_option("--shard", o.shard,
                     "i/n: every n-th point from the i-th only; for Slurm arrays and the like");
  command.add_option("--memory-limit", o.memory_limit,
                     "For all points at a time: 12GiB, or a share of what there is (default: 80%)");
  command
      .add_option("--stale-after", o.stale_seconds,
                  "Seconds without a heartbeat after which a process on another machine counts as "
                  "dead; the same for all (default: 120)")
      ->check(CLI::Range(1.0, 86400.0));
  command.add_flag("--dry-run", o.dry_run,
                   "List the points with planned memory and time; nothing is written");
  command.add_flag("--retry-failed", o.retry_failed, "Run failed points again");
  command.add_flag("--quiet", o.quiet, "No progress");
  add_json(command, o.json);
  command.footer(
      "Examples:\n"
      "  mixflow sweep configs/sweeps/rates.yaml --dry-run\n"
      "  mixflow sweep configs/sweeps/rates.yaml --jobs 2\n"
      "  seq 4 | parallel -j4 mixflow sweep configs/sweeps/rates.yaml --threads 1 --shard {}/4");
}

void describe(CLI::App& command, CheckCommand& o) {
  command.description(
      "Compare the meta-gradient of every exact mode, finite differences and the fast path");
  add_common(command, o);
  command.footer("Example:\n  mixflow check configs/quickstart.yaml");
}

void describe(CLI::App& command, GradCommand& o) {
  command.description("One meta-gradient, exchanged with NumPy, JAX or PyTorch by safetensors");
  add_common(command, o);
  command.add_option("--in", o.in,
                     "Inputs (theta.*, eta.*, data.*); what it lacks is drawn from the seed");
  command.add_option("--out", o.out, "Inputs, meta_grad.*, theta_T.*, inner_loss and outer_loss");
  command.footer(
      "Examples:\n"
      "  mixflow grad configs/quickstart.yaml --out a.safetensors -s precision=f64\n"
      "  mixflow grad configs/quickstart.yaml --in a.safetensors --out b.safetensors -s "
      "precision=f64");
}

void describe(CLI::App& command, ReportCommand& o) {
  command.description("Tables and plots of runs, sweeps and bench results, pivoted by config keys");
  command
      .add_option("DIR", o.report.paths,
                  "Run directories, directories that hold some at any depth, or .json files from "
                  "bench --json and plan --json")
      ->required();
  command.add_option("--format", o.format, "md, csv, tex (booktabs) or html (default: md)")
      ->check(one_of(kFormatNames));
  add_list(command, "--rows", o.report.rows,
           "Config keys whose values make the rows (default: those that differ)")
      ->delimiter(',');
  add_list(command, "--cols", o.report.cols, "Config keys whose values make the columns")
      ->delimiter(',');
  add_list(command, "--value", o.report.values,
           "Numbers to show: of the summary (step_s, dynamic_bytes), of curves (meta_loss.min, "
           "validation.loss_after_5), of the plan (plan.flop), or a config key")
      ->delimiter(',');
  command.add_option("--agg", o.agg, "What is said of several runs; mean comes with its interval")
      ->check(one_of(kAggNames))
      ->capture_default_str();
  add_list(command, "--baseline", o.report.baseline,
           "Also ratios to the cells with this value: key=value; several narrow it down");
  add_list(command, "--x", o.report.x, "Config keys that plots of the values run along (html)")
      ->delimiter(',');
  command.add_flag("--all", o.report.all,
                   "Also count runs that have not finished, as far as they have got");
  command.add_option("--out", o.out, "Write to this file; its name may tell the format");
  add_json(command, o.json);
  command.footer(
      "Examples:\n"
      "  mixflow report runs\n"
      "  mixflow report runs --rows gradient.mode --cols inner.steps --value dynamic_bytes --agg "
      "median\n"
      "  mixflow report runs --baseline gradient.mode=reverse --out report.html");
}

void describe(CLI::App& command, GraphCommand& o) {
  command.description("Print a compute graph as text or Graphviz dot");
  add_common(command, o);
  command
      .add_option("--stage", o.stage,
                  "loss | inner-grad | meta-grad | program (one meta-step as it is run)")
      ->check(CLI::IsMember({"loss", "inner-grad", "meta-grad", "program"}))
      ->capture_default_str();
  command.add_option("--format", o.format, "text | dot")
      ->check(CLI::IsMember({"text", "dot"}))
      ->capture_default_str();
  command.footer(
      "Example:\n  mixflow graph configs/quickstart.yaml --stage loss --format dot | dot -Tsvg > "
      "loss.svg");
}

void describe(CLI::App& command, InfoCommand& o) {
  command.description("Build, CPU, libraries and the matmul peak");
  add_threads(command, o.threads);
  command.add_flag("--measure", o.measure,
                   "Measure the matmul peak anew; otherwise it is measured once and kept");
  add_json(command, o.json);
  command.footer("Examples:\n  mixflow info --json\n  mixflow info --measure");
}

template <class Command>
void add(CLI::App& app, const std::string& name, int& exit_code) {
  const auto options = std::make_shared<Command>();
  CLI::App* command = app.add_subcommand(name);
  describe(*command, *options);
  command->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace

void add_subcommands(CLI::App& app, int& exit_code) {
  add<TrainCommand>(app, "train", exit_code);
  add<PlanCommand>(app, "plan", exit_code);
  add<BenchCommand>(app, "bench", exit_code);
  add<SweepCommand>(app, "sweep", exit_code);
  add<CheckCommand>(app, "check", exit_code);
  add<GradCommand>(app, "grad", exit_code);
  add<ReportCommand>(app, "report", exit_code);
  add<GraphCommand>(app, "graph", exit_code);
  add<InfoCommand>(app, "info", exit_code);
}

}  // namespace mixflow
