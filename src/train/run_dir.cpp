#include "train/run_dir.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "config/load.h"
#include "util/error.h"
#include "util/file.h"

namespace mixflow {
namespace {

// The settings that have an influence on what is computed. The number of threads has one on the
// last bits; the checkpoint knows it.
std::string comparable(const Config& config) {
  Config copy = with_absolute_paths(config);
  copy.threads = 0;
  return dump_config(copy);
}

void make_directory(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error)
    throw UserError(path.string() + ": cannot be created: " + error.message() +
                    "; choose another --out");
}

[[noreturn]] void fail_taken(const std::filesystem::path& path) {
  throw UserError(path.string() +
                  ": holds a run already: continue it with --resume, or choose another --out");
}

}  // namespace

RunDir::RunDir(std::filesystem::path path, const Config& config, bool resume)
    : path_(std::move(path)) {
  if (!holds_run()) return;
  if (!resume) fail_taken(path_);
  const std::filesystem::path saved = file("config.yaml");
  const std::string was = comparable(load_config(saved.string(), {}));
  const std::string is = comparable(config);
  if (was != is) {
    throw UserError(saved.string() + ": the run was started with another configuration: " +
                    first_difference(was, is) +
                    ". Resume with the same config, or start anew with another --out");
  }
  lock_.emplace(path_);
}

bool RunDir::holds_run() const {
  std::error_code ignored;  // whatever it is, create() meets it again
  return std::filesystem::exists(file("config.yaml"), ignored);
}

void RunDir::create(const Config& config) {
  make_directory(path_);
  if (!lock_) {
    lock_.emplace(path_);
    if (holds_run()) fail_taken(path_);
  }
  make_directory(checkpoints());
  remove_temporaries(path_);
  remove_temporaries(checkpoints());
  remove_temporaries(best());
  if (!holds_run()) write("config.yaml", dump_config(with_absolute_paths(config)));
}

void RunDir::write(std::string_view name, std::string_view text) const {
  write_atomically(file(name), text);
}

std::vector<std::pair<std::int64_t, double>> RunDir::metric(const char* name) const {
  std::vector<std::pair<std::int64_t, double>> values;
  const std::filesystem::path path = file("metrics.jsonl");
  std::istringstream lines(read_text(path));
  for (std::string line; std::getline(lines, line);) {
    const nlohmann::json json = nlohmann::json::parse(line, nullptr, false);
    const bool whole = json.is_object() && json.contains("step") && json.contains(name);
    if (!whole || !json["step"].is_number_integer()) {
      throw UserError(path.string() + ":" + std::to_string(values.size() + 1) +
                      ": not a line of metrics of mixflow");
    }
    const nlohmann::json& value = json[name];
    values.emplace_back(json["step"], value.is_number() ? value.get<double>()
                                                        : std::numeric_limits<double>::quiet_NaN());
  }
  return values;
}

std::vector<EvalResult> RunDir::evals() const {
  std::vector<EvalResult> results;
  const std::filesystem::path path = file("eval.jsonl");
  std::istringstream lines(read_text(path));
  for (std::string line; std::getline(lines, line);) {
    try {
      results.push_back(parse_eval(line));
    } catch (const UserError& error) {
      throw UserError(path.string() + ":" + std::to_string(results.size() + 1) + ": " +
                      error.what());
    }
  }
  return results;
}

}  // namespace mixflow
