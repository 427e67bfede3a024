// The command line.
#pragma once

namespace mixflow {

// Parses, runs one subcommand and returns its exit code: 0 ok, 1 a failed check or run, 130
// interrupted. Everything that goes wrong is thrown (util/error.h), usage errors as UserError.
int run_cli(int argc, char** argv);

}  // namespace mixflow
