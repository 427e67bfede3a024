// `mixflow grad`: one meta-gradient whose inputs and outputs are a safetensors file, so that NumPy,
// JAX or PyTorch can compute the same.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "config/config.h"
#include "train/take_inputs.h"

namespace mixflow {

struct GradOptions {
  std::filesystem::path in;   // empty: everything is drawn from the seed
  std::filesystem::path out;  // empty: nothing is written
};
struct GradReport {
  double outer_loss = 0;  // mean over tasks
  struct Tensor {
    std::string name;  // meta_grad.<eta name>
    std::string type;
    double norm = 0;
  };
  std::vector<Tensor> tensors;
  TakenInputs inputs;  // of the file
  double seconds = 0;  // of the meta-gradient alone
  std::int64_t static_bytes = 0, dynamic_bytes = 0, arena_peak_bytes = 0;
};
std::string to_json(const GradReport& report);
std::string to_text(const GradReport& report);

// Throws UserError where a tensor of the file does not fit the config.
GradReport meta_gradient(const Config& config, const GradOptions& options);

}  // namespace mixflow
