#include "models/make_model.h"

#include "models/mlp.h"
#include "models/transformer.h"

namespace mixflow {

std::unique_ptr<Model> make_model(const Config& config, std::int64_t inputs, std::int64_t outputs) {
  if (const auto* mlp = std::get_if<MlpModel>(&config.model)) {
    return std::make_unique<Mlp>(*mlp, config.inner.loss, inputs, outputs);
  }
  return std::make_unique<Transformer>(std::get<TransformerModel>(config.model),
                                       config.gradient.remat.block);
}

}  // namespace mixflow
