// argv -> cli; prints the one error block; picks the exit code.
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "cli/cli.h"
#include "util/error.h"
#include "util/text.h"

namespace {

// A file that is opened later must not become stdin, stdout or stderr where these are closed.
void open_standard_streams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    // Read-only: writing to it fails as writing to a closed stream would.
    if (::fcntl(fd, F_GETFD) < 0 && ::open("/dev/null", O_RDONLY) != fd) std::exit(1);
  }
}

int fail(const char* what, const std::exception& error, int code) {
  std::fprintf(stderr, "mixflow: %s%s\n", what, mixflow::visible(error.what()).c_str());
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  open_standard_streams();
  std::signal(SIGXFSZ, SIG_IGN);  // a write past the size limit is an error, with its message
  std::signal(SIGPIPE, SIG_IGN);  // a reader that has gone does not end a training
  try {
    return mixflow::run_cli(argc, argv);
  } catch (const mixflow::UserError& error) {
    return fail("", error, 2);
  } catch (const mixflow::RunError& error) {
    return fail("run failed: ", error, 1);
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr,
                 "mixflow: run failed: out of memory; `mixflow plan` shows what a config needs\n");
    return 1;
  } catch (const std::exception& error) {
    return fail("this is a bug, please report it: ", error, 70);
  }
}
