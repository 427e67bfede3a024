#include "models/make_model.h"

#include "models/mlp.h"
#include "models/transformer.h"

namespace mixflow {

namespace {

std::unique_ptr<Model> make(const Config& config, std::int64_t inputs, std::int64_t outputs) {
  if (const auto* mlp = std::get_if<MlpModel>(&config.model)) {
    return std::make_unique<Mlp>(*mlp, config.inner.loss, inputs, outputs);
  }
  return std::make_unique<Transformer>(std::get<TransformerModel>(config.model), config.gradient);
}

}  // namespace

std::unique_ptr<Model> make_model(const Config& config, std::int64_t inputs, std::int64_t outputs) {
  std::unique_ptr<Model> model = make(config, inputs, outputs);
  for (const Parameter& parameter : model->parameters()) {
    num_elements(parameter.shape, "model: " + parameter.name);  // or it is too large
  }
  return model;
}

}  // namespace mixflow
