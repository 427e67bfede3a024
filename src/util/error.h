// The three kinds of failure, and nothing else. main.cpp turns them into one error block and an
// exit code.
#pragma once

#include <stdexcept>
#include <string>

namespace mixflow {

// Wrong config, data or command line: exit code 2. The message says where, what was found, what was
// expected and the way out.
struct UserError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A valid run that failed (non-finite loss, failed check, disk full): exit code 1.
struct RunError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A bug in mixflow: exit code 70. Raised by MIXFLOW_CHECK only; user input never reaches one.
struct InternalError : std::logic_error {
  using std::logic_error::logic_error;
};

[[noreturn]] void fail_check(const char* file, int line, const char* condition,
                             const std::string& message);

}  // namespace mixflow

// MIXFLOW_CHECK(condition, message): `message` is evaluated only when the condition is false.
#define MIXFLOW_CHECK(condition, message)                                               \
  do {                                                                                  \
    if (!(condition)) ::mixflow::fail_check(__FILE__, __LINE__, #condition, (message)); \
  } while (false)
