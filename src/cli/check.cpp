#include "train/check.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "cli/cli.h"

namespace mixflow {

void add_check(CLI::App& app, int& exit_code) {
  auto o = std::make_shared<CommonOptions>();
  CLI::App* command = app.add_subcommand(
      "check",
      "Compare the meta-gradient of every exact mode, finite differences and the fast path");
  add_common(*command, *o);
  command->footer("Example:\n  mixflow check configs/quickstart.yaml");
  command->callback([o, &exit_code] {
    const CheckReport report = check(load(*o));
    std::printf("%s%s", o->json ? to_json(report).c_str() : to_text(report).c_str(),
                o->json ? "\n" : "");
    exit_code = report.ok() ? 0 : 1;
  });
}

}  // namespace mixflow
