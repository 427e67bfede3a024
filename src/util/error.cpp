#include "util/error.h"

namespace mixflow {

void fail_check(const char* file, int line, const char* condition, const std::string& message) {
  throw InternalError(std::string(file) + ":" + std::to_string(line) + ": " + message + " (" +
                      condition + " does not hold)");
}

}  // namespace mixflow
