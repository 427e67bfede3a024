#include "cli/cli.h"

#include <poll.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "cli/subcommands.h"
#include "util/error.h"
#include "util/log_format.h"
#include "util/text.h"

namespace mixflow {
namespace {

// Results go to stdout, logs to stderr.
void log_to_stderr() {
  auto logger = spdlog::stderr_color_mt("mixflow");
  logger->set_formatter(log_format("%^%l%$: %v"));
  spdlog::set_default_logger(std::move(logger));
}

std::vector<std::string> subcommands(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(sub->get_name());
  return names;
}

std::vector<std::string> long_options(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

// ", did you mean --set?", or nothing.
std::string suggestion(const std::string& word, const std::vector<std::string>& names) {
  const std::vector<std::string_view> views(names.begin(), names.end());
  const std::string_view near = nearest(word, views);
  return near.empty() ? "" : ", did you mean " + std::string(near) + "?";
}

// What is wrong with the command line. CLI11 reports a missing subcommand before an unknown one,
// and unknown words back to front.
std::string usage_message(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<CLI::App*> chosen = app.get_subcommands();
  const std::vector<std::string> left = app.remaining(true);
  const auto option =
      std::ranges::find_if(left, [](const std::string& word) { return word.starts_with("-"); });
  const auto unknown_option = [&](const CLI::App& command) {
    const std::string word = option->substr(0, option->find('='));
    return "unknown option " + word + suggestion(word, long_options(command));
  };
  if (chosen.empty()) {
    const std::string known = " (subcommands: " + join(subcommands(app), ", ") + ")";
    if (left.empty()) return "expected a subcommand" + known;
    if (option == left.begin()) return unknown_option(app) + known;
    return "unknown subcommand " + left.front() + suggestion(left.front(), subcommands(app)) +
           known;
  }
  const CLI::App& command = *chosen.front();
  std::string message = error.what();
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    message =
        option != left.end() ? unknown_option(command) : "unexpected argument " + left.front();
  }
  return command.get_name() + ": " + message + " (see mixflow " + command.get_name() + " --help)";
}

// Whether whoever reads stdout has gone, as `head` does once it has its lines.
bool reader_left() {
  pollfd out{.fd = STDOUT_FILENO, .events = POLLOUT, .revents = 0};
  return ::poll(&out, 1, 0) == 1 && (out.revents & (POLLERR | POLLHUP)) != 0;
}

// Results that did not arrive are a failed run, not a success; results that nobody wants to read on
// are neither.
void flush_results() {
  std::cout.flush();
  const bool flushed = std::fflush(stdout) == 0;
  if (flushed && std::ferror(stdout) == 0 && std::cout.good()) return;
  if (reader_left()) return;
  throw RunError("stdout: the results could not be written; is the disk full, or stdout closed?");
}

}  // namespace

int run_cli(int argc, char** argv) {
  log_to_stderr();
  CLI::App app(
      "mixflow: gradient-based meta-training on CPUs by mixed-mode differentiation (MixFlow-MG)");
  app.set_version_flag("--version", "mixflow " MIXFLOW_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Examples:\n"
      "  mixflow train configs/quickstart.yaml\n"
      "  mixflow plan configs/quickstart.yaml --explain\n"
      "  mixflow train --schema\n"
      "Every subcommand: mixflow SUBCOMMAND --help");
  int exit_code = 0;
  add_subcommands(app, exit_code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    app.exit(success);
  } catch (const CLI::ParseError& error) {
    throw UserError(usage_message(app, error));
  }
  flush_results();
  return exit_code;
}

}  // namespace mixflow
