// The inputs of `mixflow grad` from a safetensors file.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "train/stage_run.h"

namespace mixflow {

struct TakenInputs {
  std::vector<std::string> drawn;    // inputs that the file lacks: they keep what they hold
  std::vector<std::string> results;  // tensors of the file that an earlier run computed
  std::vector<std::string> unused;   // its other tensors that are no inputs
};

// Copies the file's tensors over the run's inputs of the same names. Throws UserError naming the
// tensor, the element, its value and what is allowed: shapes and types that do not fit, numbers
// that are not finite, labels and token ids outside the model's classes or vocabulary.
//
// Names that fit nothing: those that begin with eta., theta. or data. are an error. Results that
// `grad` itself writes (meta_grad.*, theta_T.*, inner_loss, outer_loss) and any other names do not
// matter, unless the file has no input at all, or lacks one of the very shape (or its transpose)
// that such a tensor has: then it stands under another framework's name, and going on with random
// numbers would be an answer to another question.
TakenInputs take_inputs(const std::filesystem::path& path, const Config& config,
                        const TaskSource& source, StageRun& run);

}  // namespace mixflow
