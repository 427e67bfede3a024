#include "data/source.h"

#include "data/episodes.h"
#include "data/sinusoid.h"
#include "data/tabular.h"
#include "data/tokens.h"

namespace mixflow {

namespace {

std::unique_ptr<TaskSource> make(const SinusoidData& data, const Config& config) {
  return make_sinusoid(data, config);
}
std::unique_ptr<TaskSource> make(const TabularData& data, const Config& config) {
  return make_tabular(data, config);
}
std::unique_ptr<TaskSource> make(const EpisodesData& data, const Config& config) {
  return make_episodes(data, config);
}
std::unique_ptr<TaskSource> make(const TokensData& data, const Config& config) {
  return make_tokens(data, config);
}

}  // namespace

std::unique_ptr<TaskSource> make_source(const Config& config) {
  return std::visit([&](const auto& data) { return make(data, config); }, config.data.source);
}

std::unique_ptr<DataSchema> make_schema(const Config& config) {
  if (const auto* tabular = std::get_if<TabularData>(&config.data.source)) {
    return make_tabular_schema(*tabular, config);
  }
  if (const auto* episodes = std::get_if<EpisodesData>(&config.data.source)) {
    return make_episodes_schema(*episodes, config);
  }
  return make_source(config);
}

}  // namespace mixflow
