// Runs the mixflow binary and keeps what it printed.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "../util/testing.h"
#include "util/file.h"

namespace mixflow {

using Args = std::vector<std::string>;

struct Outcome {
  int code = -1;    // exit code; 128 + signal where one ended the process
  std::string out;  // stdout
  std::string err;  // stderr
};

// A started mixflow. It must be waited for.
class Process {
 public:
  // `directory` is the working directory.
  Process(const Args& args, const std::filesystem::path& directory)
      : Process(MIXFLOW_BINARY, args, directory) {}

  // By a shell command in which "$0" is mixflow, for redirections and limits.
  static Process shell(const std::string& command, const std::filesystem::path& directory) {
    return {"/bin/sh", {"-c", command, MIXFLOW_BINARY}, directory};
  }

  // Waits until it has said this on stderr.
  void wait_for(const std::string& text) const {
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(2);
    while (read_text(output_ / "err").find(text) == std::string::npos) {
      REQUIRE(std::chrono::steady_clock::now() < end);
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
  void signal(int number) const { ::kill(pid_, number); }
  pid_t pid() const { return pid_; }

  // It must still be waited for.
  bool has_ended() const {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == pid_;
  }

  Outcome wait() {
    int status = 0;
    REQUIRE(::waitpid(pid_, &status, 0) == pid_);
    return {.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
            .out = read_text(output_ / "out"),
            .err = read_text(output_ / "err")};
  }

 private:
  Process(const std::string& binary, const Args& args, const std::filesystem::path& directory) {
    std::vector<std::string> words{binary};
    words.insert(words.end(), args.begin(), args.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addchdir_np(&actions, directory.c_str());
    const int flags = O_WRONLY | O_CREAT | O_TRUNC;
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, (output_ / "out").c_str(), flags,
                                     0600);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, (output_ / "err").c_str(), flags,
                                     0600);
    const int error = posix_spawn(&pid_, binary.c_str(), &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    REQUIRE_MESSAGE(error == 0, "cannot start " << binary);
  }

  TemporaryDirectory output_;
  pid_t pid_ = -1;
};

inline Outcome mixflow(const Args& args, const std::filesystem::path& directory) {
  return Process(args, directory).wait();
}

inline Args operator+(Args a, const Args& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// -s key=value for each setting.
inline Args set(const Args& settings) {
  Args args;
  for (const std::string& setting : settings) args = args + Args{"-s", setting};
  return args;
}

inline std::string shipped(const std::string& config) {
  return std::string(MIXFLOW_SOURCE_DIR) + "/configs/" + config;
}

// A small MAML: quickstart with a few meta-steps.
inline Args tiny(const Args& more = {}) {
  return Args{shipped("quickstart.yaml")} +
         set({"meta.steps=12", "meta.batch=4", "model.hidden=[8]", "meta.eval.tasks=4",
              "meta.eval.every=5", "meta.checkpoint_every=4", "threads=2"}) +
         more;
}

// stdout as JSON, of which there must be nothing else.
inline nlohmann::json json_of(const Outcome& outcome) {
  const nlohmann::json json = nlohmann::json::parse(outcome.out, nullptr, false);
  CHECK_MESSAGE(!json.is_discarded(),
                "stdout is not one JSON value: " << outcome.out << outcome.err);
  return json;
}

inline std::vector<nlohmann::json> json_lines(const std::filesystem::path& path) {
  std::vector<nlohmann::json> lines;
  std::istringstream text(read_text(path));
  for (std::string line; std::getline(text, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

// Everything below a directory, relative to it, sorted.
inline std::vector<std::string> listing(const std::filesystem::path& directory) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory))
    names.push_back(entry.path().lexically_relative(directory).string());
  std::ranges::sort(names);
  return names;
}

}  // namespace mixflow
