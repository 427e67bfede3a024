// The subcommands, their options and help.
#pragma once

namespace CLI {
class App;
}

namespace mixflow {

// `exit_code` is set when a subcommand has run.
void add_subcommands(CLI::App& app, int& exit_code);

}  // namespace mixflow
