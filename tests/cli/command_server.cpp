// mixflow's commands one after another, each in a child of this process, as fast as a fork: loading
// and linking are done once. Reads a line of JSON per command,
//   {"arguments": [..], "cpu_seconds": 20, "address_bytes": 4294967296, "directory": "/tmp/x"},
// and answers with one, {"code": 0, "errors": ".."}, or {"signal": 11, ..} where the child crashed,
// used up its seconds (SIGXCPU) or waited for too long (SIGALRM). What it prints on stdout is lost.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "train/planned.h"

int mixflow_main(int argc, char** argv);  // src/main.cpp under this name

namespace {

constexpr unsigned kPatience = 15;  // seconds on the clock for each of the processor's

[[noreturn]] void run_here(const nlohmann::json& command, int errors) {
  const int nothing = open("/dev/null", O_RDWR);
  dup2(nothing, STDIN_FILENO);
  dup2(nothing, STDOUT_FILENO);
  dup2(errors, STDERR_FILENO);
  const auto limit = [](auto resource, rlim_t value) {
    const rlimit both{value, value};
    setrlimit(resource, &both);
  };
  const auto seconds = command.at("cpu_seconds").get<unsigned>();
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_CPU, seconds);
  limit(RLIMIT_AS, command.at("address_bytes").get<rlim_t>());
  alarm(seconds * kPatience);
  if (chdir(command.at("directory").get<std::string>().c_str()) != 0) std::_Exit(71);
  auto words = command.at("arguments").get<std::vector<std::string>>();
  words.insert(words.begin(), "mixflow");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::exit(mixflow_main(static_cast<int>(words.size()), argv.data()));
}

std::string contents(int file) {
  std::string text(static_cast<std::size_t>(lseek(file, 0, SEEK_END)), '\0');
  const ssize_t got = pread(file, text.data(), text.size(), 0);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

nlohmann::json answer_to(const nlohmann::json& command) {
  const int errors = memfd_create("errors", 0);
  const pid_t child = fork();
  if (child < 0) return {{"code", 71}, {"errors", "fork failed"}};
  if (child == 0) run_here(command, errors);
  int status = 0;
  waitpid(child, &status, 0);
  nlohmann::json answer = {{"errors", contents(errors)}};
  close(errors);
  if (WIFSIGNALED(status)) {
    answer["signal"] = WTERMSIG(status);
  } else {
    answer["code"] = WEXITSTATUS(status);
  }
  return answer;
}

}  // namespace

int main() {
  // Children find the peak measured; on one thread, so that there is no team to lose in a fork.
  for (const bool bf16 : {false, true}) mixflow::matmul_peak(1, bf16);
  for (std::string line; std::getline(std::cin, line);) {
    const nlohmann::json answer = answer_to(nlohmann::json::parse(line));
    std::cout << answer.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace) << std::endl;
  }
}
