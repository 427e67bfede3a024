// Kinds of RunError that somebody acts on: a sweep counts them apart.
#pragma once

#include "util/error.h"

namespace mixflow {

// More memory than the process may have.
struct MemoryError : RunError {
  using RunError::RunError;
};

// A loss, a gradient or a weight that is NaN or infinite.
struct NonFiniteError : RunError {
  using RunError::RunError;
};

// A disk that is full or fails, a file that may not be written.
struct IoError : RunError {
  using RunError::RunError;
};

// Files that another process is writing.
struct InUseError : UserError {
  using UserError::UserError;
};

}  // namespace mixflow
