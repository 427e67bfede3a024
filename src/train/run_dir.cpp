#include "train/run_dir.h"

#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "config/load.h"
#include "train/checkpoint.h"
#include "train/identity.h"
#include "train/tensorboard.h"
#include "util/failure.h"
#include "util/file.h"
#include "util/own_file.h"

namespace mixflow {
namespace {

namespace fs = std::filesystem;

// What a run writes besides checkpoints; config.yaml last, which makes the directory a run's.
constexpr auto kFiles = std::to_array<std::string_view>(
    {"metrics.jsonl", "eval.jsonl", kEventsFile, "summary.json", "log.txt", "config.yaml"});

// Below the run directory, which itself may be reached through a link.
bool is_ours(const fs::path& path) {
  return path.filename() == "checkpoints" || path.filename() == "best";
}

void make_directory(const fs::path& path) {
  std::error_code error;
  if (fs::is_symlink(path, error) && is_ours(path)) {
    throw UserError(path.string() +
                    ": is a symbolic link, which is not followed when a run is written: remove it");
  }
  if (fs::is_directory(path, error)) return;
  fs::create_directories(path, error);
  if (error)
    throw UserError(path.string() + ": cannot be created: " + error.message() +
                    "; choose another --out");
  sync_directory(path.has_parent_path() ? path.parent_path() : fs::path("."));
}

// The next directory of that name with a number after it that does not exist.
fs::path free_sibling(const fs::path& path) {
  std::error_code ignored;
  for (int number = 2;; ++number) {
    const fs::path sibling = path.string() + "-" + std::to_string(number);
    if (!fs::exists(sibling, ignored)) return sibling;
  }
}

[[noreturn]] void fail_no_run(const fs::path& path) {
  std::error_code ignored;
  throw UserError("--resume: " + path.string() + ": " +
                  (fs::exists(path, ignored) ? "holds no run" : "no such directory") +
                  "; without --resume a new run begins there");
}

[[noreturn]] void fail_without_config(const fs::path& path) {
  throw UserError((path / "config.yaml").string() + ": is missing, although " +
                  (path / "checkpoints").string() +
                  " holds checkpoints: put it back, begin anew with --overwrite, or choose another "
                  "--out");
}

}  // namespace

fs::path config_of_run(const fs::path& directory) {
  std::error_code ignored;
  const fs::path config = directory / "config.yaml";
  if (fs::exists(config, ignored)) return config;
  if (newest_checkpoint(directory / "checkpoints")) fail_without_config(directory);
  fail_no_run(directory);
}

RunDir::RunDir(fs::path path, const Config& config, Begin begin)
    : path_(std::move(path)), begin_(begin) {
  if (begin == Begin::resume) {
    check_resumable(config);
    lock_.emplace(path_);
  } else if (begin == Begin::fresh) {
    if (holds_run()) fail_taken();
    if (holds_checkpoints()) fail_without_config(path_);
  }
}

void RunDir::check_resumable(const Config& config) const {
  const fs::path saved = config_of_run(path_);
  const std::string was = comparable_settings(load_config(saved.string(), {}));
  const std::string is = comparable_settings(config);
  if (was == is) return;
  throw UserError(saved.string() +
                  ": the run was started with another configuration: " + first_difference(was, is) +
                  ". Resume with the same config, or start anew with another --out");
}

bool RunDir::holds_run() const {
  std::error_code ignored;  // whatever it is, create() meets it again
  return fs::exists(file("config.yaml"), ignored);
}

bool RunDir::holds_checkpoints() const { return newest_checkpoint(checkpoints()).has_value(); }

void RunDir::fail_taken() const {
  throw UserError(path_.string() +
                  ": holds a run already: continue it with --resume, replace it with --overwrite, "
                  "or choose another --out (" +
                  free_sibling(path_).string() + " is free)");
}

void RunDir::create(const Config& config) {
  make_directory(path_);
  if (!lock_) {
    lock_.emplace(path_);
    if (begin_ == Begin::fresh && holds_run()) fail_taken();
  }
  make_directory(checkpoints());
  for (const std::string_view name : kFiles) {
    std::error_code ignored;
    if (fs::is_symlink(file(name), ignored)) {
      throw UserError(file(name).string() +
                      ": is a symbolic link, which is not followed when a run is written: remove "
                      "it");
    }
  }
  if (begin_ == Begin::overwrite) remove_run();
  remove_temporaries(path_);
  remove_temporaries(checkpoints());
  remove_temporaries(best());
  if (!holds_run()) write_atomically(file("config.yaml"), dump_config(with_absolute_paths(config)));
}

// Nothing but what a run writes: the directory may hold notes.
void RunDir::remove_run() const {
  std::error_code error;
  const auto remove = [&](const fs::path& path) {
    if (!fs::remove(path, error) && error)
      throw UserError(path.string() + ": cannot be deleted: " + error.message());
  };
  for (const fs::path& directory : {best(), checkpoints()}) {
    while (const auto checkpoint = newest_checkpoint(directory)) remove(*checkpoint);
  }
  for (const std::string_view name : kFiles) remove(file(name));
  sync_directory(checkpoints());
  sync_directory(path_);
}

void RunDir::write(std::string_view name, std::string_view text) const {
  try {
    write_atomically(file(name), text);
  } catch (const UserError& error) {
    check_there();
    throw IoError(error.what());
  }
}

void RunDir::create_best() const {
  try {
    make_directory(best());
  } catch (const UserError& error) {
    check_there();
    throw IoError(error.what());
  }
}

void RunDir::sync() const { sync_directory(path_); }

void RunDir::check_there() const {
  std::error_code ignored;
  if (fs::is_directory(checkpoints(), ignored)) return;
  throw IoError(path_.string() +
                ": the run directory, or its checkpoints, were removed while the run went on; what "
                "it held is gone");
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
