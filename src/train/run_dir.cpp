#include "train/run_dir.h"

#include <sstream>

#include "config/load.h"
#include "util/error.h"
#include "util/file.h"

namespace mixflow {
namespace {

// Paths as they are seen from any directory.
Config with_absolute_paths(Config config) {
  const auto fix = [](std::string& path) {
    if (!path.empty()) path = std::filesystem::absolute(path).lexically_normal().string();
  };
  if (auto* tabular = std::get_if<TabularData>(&config.data.source)) {
    fix(tabular->x);
    fix(tabular->y);
  } else if (auto* episodes = std::get_if<EpisodesData>(&config.data.source)) {
    fix(episodes->x);
    fix(episodes->y);
  } else if (auto* tokens = std::get_if<TokensData>(&config.data.source)) {
    fix(tokens->path);
  }
  return config;
}

// The settings that have an influence on what is computed. The number of threads has one on the
// last bits; the checkpoint knows it.
std::string comparable(const Config& config) {
  Config copy = with_absolute_paths(config);
  copy.threads = 0;
  return dump_config(copy);
}

// The first line in which the two differ, for a message.
std::string first_difference(const std::string& was, const std::string& is) {
  std::istringstream a(was), b(is);
  std::string line_a, line_b;
  while (true) {
    const bool more_a = static_cast<bool>(std::getline(a, line_a));
    const bool more_b = static_cast<bool>(std::getline(b, line_b));
    if (!more_a && !more_b) return "";
    if (line_a != line_b || more_a != more_b)
      return "it had \"" + line_a + "\", now \"" + line_b + "\"";
  }
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
  if (!holds_run()) write("config.yaml", dump_config(with_absolute_paths(config)));
}

void RunDir::write(std::string_view name, std::string_view text) const {
  write_atomically(file(name), text);
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
