// From a configuration to a model.
#pragma once

#include <cstdint>
#include <memory>

#include "models/model.h"

namespace mixflow {

// `inputs` (elements of one example) and `outputs` (targets or classes) are those of the data; a
// transformer has its own.
std::unique_ptr<Model> make_model(const Config& config, std::int64_t inputs, std::int64_t outputs);

}  // namespace mixflow
