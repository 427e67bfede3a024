// argv -> cli; prints the one error block; picks the exit code.
#include <csignal>
#include <cstdio>
#include <exception>

#include "cli/cli.h"
#include "util/error.h"

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a write past the size limit is an error, with its message
  try {
    return mixflow::run_cli(argc, argv);
  } catch (const mixflow::UserError& error) {
    std::fprintf(stderr, "mixflow: %s\n", error.what());
    return 2;
  } catch (const mixflow::RunError& error) {
    std::fprintf(stderr, "mixflow: run failed: %s\n", error.what());
    return 1;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr,
                 "mixflow: run failed: out of memory; `mixflow plan` shows what a config needs\n");
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "mixflow: this is a bug, please report it: %s\n", error.what());
    return 70;
  }
}
