#include "config/check.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "config/chinchilla.h"
#include "config/load.h"
#include "config/names.h"
#include "config/preset.h"
#include "config/table_file.h"
#include "config/warnings.h"
#include "util/error.h"
#include "util/text.h"

namespace mixflow {
namespace {

[[noreturn]] void fail(const Config& config, const std::string& path, const std::string& message) {
  throw UserError(origin(config, path) + ": " + message);
}

const TransformerModel* transformer(const Config& config) {
  return std::get_if<TransformerModel>(&config.model);
}

// --- gradient ------------------------------------------------------------------------

void check_preset(const Config& config) {
  const GradientConfig& gradient = config.gradient;
  // Without blocks, a preset says how many steps reuse and nothing else (idle.h).
  if (gradient.preset == Preset::none || transformer(config) == nullptr) return;
  const std::string preset(name_of(gradient.preset)), block = "gradient.remat.block";
  const RematPolicy& policy = gradient.remat.policy;
  const bool changes = resolved_policy(config) != policy;
  if (changes && config.origins.contains(block)) {
    fail(config, block,
         "gradient.preset is " + preset + ", which says what blocks keep; remove one of the two");
  }
  if (!changes && policy != policy_of(gradient.preset)) {
    fail(config, "gradient.preset",
         preset + " changes nothing, since gradient.remat.policy says what is kept: gradients " +
             std::string(name_of(policy.gradients)) + ", second_order " +
             std::string(name_of(policy.second_order)) + ", reuse " + std::to_string(policy.reuse) +
             "; remove the preset or the policy");
  }
}

// --- models --------------------------------------------------------------------------

void resolve_transformer(const Config& config, TransformerModel& model, const std::string& path) {
  const ChinchillaSize* row = model.size.empty() ? nullptr : find_chinchilla(model.size);
  if (!model.size.empty() && row == nullptr) {
    std::vector<std::string> names;
    for (const ChinchillaSize& size : chinchilla_sizes()) names.push_back(name_of(size));
    fail(config, path + ".size",
         "no row of the Chinchilla table is named " + in_quotes(model.size) + "; the rows are " +
             join(names, ", "));
  }
  struct Field {
    const char* name;
    std::int64_t TransformerModel::*field;
    std::int64_t ChinchillaSize::*column;
  };
  for (const auto& [name, field, column] :
       {Field{"d_model", &TransformerModel::d_model, &ChinchillaSize::d_model},
        Field{"ffw", &TransformerModel::ffw, &ChinchillaSize::ffw},
        Field{"heads", &TransformerModel::heads, &ChinchillaSize::heads},
        Field{"kv_size", &TransformerModel::kv_size, &ChinchillaSize::kv_size},
        Field{"layers", &TransformerModel::layers, &ChinchillaSize::layers}}) {
    const std::int64_t written = model.*field;
    if (written == 0 && row != nullptr) model.*field = row->*column;
    if (row != nullptr && model.*field != row->*column) {
      fail(config, path + "." + name,
           std::to_string(written) + " contradicts " + path + ".size " + model.size +
               ", which has " + std::to_string(row->*column) + "; remove one of the two");
    }
    if (model.*field == 0) {
      fail(config, path + "." + name,
           "missing; give size, or d_model, ffw, heads, kv_size and layers, each at least 1");
    }
  }
  if (model.kv_size % 2 != 0) {
    fail(config, path + ".kv_size",
         "expected an even number, got " + std::to_string(model.kv_size) +
             "; rotary positions turn pairs of a head's elements");
  }
}

void resolve_models(Config& config) {
  if (auto* model = std::get_if<TransformerModel>(&config.model)) {
    resolve_transformer(config, *model, "model");
  }
  for (std::size_t i = 0; i < config.meta.parameters.size(); ++i) {
    MetaParameter& parameter = config.meta.parameters[i];
    if (parameter.kind != MetaKind::loss_weights) continue;
    const std::string path = "meta.parameters[" + std::to_string(i) + "].model";
    if (!config.origins.contains(path)) {
      fail(config, path,
           "missing; it is the network that scores the examples, such as {kind: transformer, "
           "d_model: 64, ffw: 256, heads: 2, kv_size: 32, layers: 2}");
    }
    TransformerModel& model = parameter.model;
    resolve_transformer(config, model, path);
    const TransformerModel* scored = transformer(config);
    if (scored == nullptr) continue;  // an error below
    if (!config.origins.contains(path + ".vocab")) model.vocab = scored->vocab;
    if (model.vocab != scored->vocab) {
      fail(config, path + ".vocab",
           "expected model.vocab " + std::to_string(scored->vocab) + ", got " +
               std::to_string(model.vocab) + "; both networks read the same tokens");
    }
  }
}

// A split has files of its own or a share of the others.
void check_share(const Config& config, bool own_files, const std::string& name,
                 const std::string& files, double share) {
  if (!own_files || share == 0) return;
  fail(config, "data." + name,
       "a share of " + number_text(share) + " of data." + files + ", but data." + name + "_" +
           files + " names files of their own; remove one of the two");
}

void check_tokens(const Config& config) {
  const auto* data = std::get_if<TokensData>(&config.data.source);
  const TransformerModel* model = transformer(config);
  if ((data == nullptr) != (model == nullptr)) {
    fail(config, "model.kind",
         model == nullptr
             ? "data.kind " + config.data.kind +
                   " has sequences of tokens, which mlp cannot read; set model.kind: transformer"
             : "transformer reads tokens, but data.kind " + config.data.kind +
                   " has none; set data.kind to text, tokens or random_tokens");
  }
  if (data == nullptr) return;
  check_share(config, !data->validation_path.empty(), "validation", "path", data->validation);
  check_share(config, !data->test_path.empty(), "test", "path", data->test);
  if (data->validation_path.empty() && data->validation == 0) {
    fail(config, "data.validation",
         "the outer loss needs data of its own; set a share above 0, or data.validation_path");
  }
  if (data->validation + data->test >= 1) {
    fail(config, "data.validation",
         "validation " + number_text(data->validation) + " and test " + number_text(data->test) +
             " leave no text for training; their sum must be < 1");
  }
  if (config.data.kind == "text" && model->vocab < 256) {
    fail(config, "model.vocab",
         "text has 256 different bytes, got a vocabulary of " + std::to_string(model->vocab) +
             "; set it to 256");
  }
}

// --- data and loss -------------------------------------------------------------------

// Where the targets are.
void check_targets(const Config& config, const TabularData& data) {
  const bool table = is_table_file(data.x), targets_table = is_table_file(data.y);
  if (data.y.empty() && table && data.target_column.empty()) {
    fail(config, "data.target_column",
         "missing; it is the column of x that holds the targets, by name or by number, -1 for the "
         "last; or name a file of targets with y");
  }
  if (data.y.empty() && !table && data.target_column.empty()) {
    fail(config, "data.y", "missing; it is the file of targets that belongs to x");
  }
  if (data.target_column.empty() || (data.y.empty() && table) || targets_table) return;
  fail(config, "data.target_column",
       table ? "the targets are in y, which has no columns by name; remove target_column or y"
             : "only a table of text has columns by name; name a file of targets with y");
}

void check_held_out_files(const Config& config, const TabularData& data) {
  const auto check = [&](const std::string& name, const std::string& x, const std::string& y) {
    if (x.empty() && !y.empty()) {
      fail(config, "data." + name + "_y", "given without " + name + "_x; name the examples too");
    }
    if (!x.empty() && y.empty() != data.y.empty()) {
      fail(config, "data." + name + "_x",
           data.y.empty()
               ? "x holds its targets itself, so does this; remove " + name + "_y"
               : "y has a file of its own; name the targets of these with " + name + "_y");
    }
  };
  check("validation", data.validation_x, data.validation_y);
  check("test", data.test_x, data.test_y);
}

// Keys that say how a table of text is read need one.
void check_table_keys(const Config& config, const TabularData& data) {
  const CsvForm usual;
  const bool table = is_table_file(data.x), any_table = table || is_table_file(data.y);
  const auto check = [&](const std::string& key, bool given, bool has_table) {
    if (!given || has_table) return;
    fail(config, "data." + key,
         "is for tables of text (.csv, .tsv, .data), but " + data.x + " is none; remove it");
  };
  check("columns", !data.columns.empty(), table);
  check("ignore", !data.ignore.empty(), table);
  check("separator", data.csv.separator != usual.separator, any_table);
  check("decimal", data.csv.decimal != usual.decimal, any_table);
  check("header", data.csv.header != usual.header, any_table);
  check("missing", data.csv.missing != usual.missing, table);
  if (data.csv.missing == "drop" && !data.y.empty()) {
    fail(config, "data.missing",
         "drop would leave rows out of x alone, since y is a file of its own; set mean, or put the "
         "targets into x");
  }
  if (data.csv.separator == "comma" && data.csv.decimal == "comma") {
    fail(config, "data.decimal", "comma separates the cells; set one of the two to something else");
  }
}

void check_tabular(const Config& config, const TabularData& data) {
  if (data.validation + data.test >= 1) {
    fail(config, "data.validation",
         "validation " + number_text(data.validation) + " and test " + number_text(data.test) +
             " leave no rows for training; their sum must be < 1");
  }
  check_share(config, !data.validation_x.empty(), "validation", "x", data.validation);
  check_share(config, !data.test_x.empty(), "test", "x", data.test);
  if (data.validation_x.empty() && data.validation == 0) {
    fail(config, "data.validation",
         "the outer loss needs rows of its own; set a share above 0, or data.validation_x");
  }
  check_targets(config, data);
  check_held_out_files(config, data);
  check_table_keys(config, data);
}

void check_episodes(const Config& config, const EpisodesData& data) {
  struct Group {
    std::string_view key;
    const std::vector<int>* classes;
  };
  const std::array groups = {Group{"train_classes", &data.train_classes},
                             Group{"validation_classes", &data.validation_classes},
                             Group{"test_classes", &data.test_classes}};
  if (data.train_classes.empty() != data.validation_classes.empty()) {
    const auto& given = groups[data.train_classes.empty() ? 1 : 0];
    const auto& other = groups[data.train_classes.empty() ? 0 : 1];
    fail(config, "data." + std::string(given.key),
         "given without " + std::string(other.key) + "; give both or neither");
  }
  if (data.train_classes.empty() && !data.test_classes.empty()) {
    fail(config, "data.test_classes",
         "given without train_classes and validation_classes; give those too or none");
  }
  std::set<int> seen;
  for (const Group& group : groups) {
    const std::string path = "data." + std::string(group.key);
    for (const int label : *group.classes) {
      if (!seen.insert(label).second) {
        fail(config, path,
             "class " + std::to_string(label) +
                 " is listed twice; a class belongs to one meta-split, once");
      }
    }
    const auto count = static_cast<int>(group.classes->size());
    if (count > 0 && count < data.ways) {
      fail(config, path,
           "lists " + std::to_string(count) + " classes, but tasks have data.ways " +
               std::to_string(data.ways) + "; list more or lower ways");
    }
  }
}

void check_loss(const Config& config) {
  const auto* tabular = std::get_if<TabularData>(&config.data.source);
  const bool regression = std::holds_alternative<SinusoidData>(config.data.source) ||
                          (tabular != nullptr && tabular->target == Target::regression);
  const Loss loss = config.inner.loss;
  const std::string name(name_of(loss));
  if (transformer(config) != nullptr && loss != Loss::cross_entropy) {
    fail(config, "inner.loss",
         name +
             (loss == Loss::bce ? " tells two classes apart, but tokens are many"
                                : " needs real targets, but tokens are classes") +
             "; set inner.loss: cross_entropy");
  }
  if (regression && loss != Loss::mse) {
    fail(config, "inner.loss",
         name + " needs classes, but data.kind " + config.data.kind +
             " has real targets; set inner.loss: mse");
  }
  if (regression && tabular != nullptr && tabular->labels != std::vector<std::string>{"auto"}) {
    fail(config, "data.labels",
         "numbers classes, but data.target is regression; remove one of the two");
  }
  if (!regression && loss == Loss::mse) {
    fail(config, "inner.loss",
         "mse needs real targets, but data.kind " + config.data.kind +
             " has classes; set inner.loss: cross_entropy (or bce for two classes)" +
             (config.data.kind == "tabular" ? ", or data.target: regression" : ""));
  }
  const auto* episodes = std::get_if<EpisodesData>(&config.data.source);
  if (episodes != nullptr && loss == Loss::bce && episodes->ways != 2) {
    fail(config, "inner.loss",
         "bce tells two classes apart, but data.ways is " + std::to_string(episodes->ways) +
             "; set inner.loss: cross_entropy");
  }
}

// --- meta-parameters -----------------------------------------------------------------

std::vector<std::string_view> optimizers_with(MetaKind kind) {
  switch (kind) {
    case MetaKind::momentum:
      return {"momentum", "nesterov"};
    case MetaKind::beta1:
      return {"adam", "adamw"};
    case MetaKind::beta2:
      return {"adam", "adamw", "rmsprop"};
    case MetaKind::weight_decay:
      return {"adamw"};
    default:
      return {};  // no matter which
  }
}

// The value under `inner`; none for init and for an L2 term that is not there.
std::optional<double> value_in_inner(const InnerConfig& inner, MetaKind kind) {
  switch (kind) {
    case MetaKind::lr:
      return inner.optimizer.lr;
    case MetaKind::momentum:
      return inner.optimizer.momentum;
    case MetaKind::beta1:
      return inner.optimizer.beta1;
    case MetaKind::beta2:
      return inner.optimizer.beta2;
    case MetaKind::weight_decay:
      return inner.optimizer.weight_decay;
    case MetaKind::l2:
      return inner.l2;
    case MetaKind::init:
    case MetaKind::loss_weights:
      break;
  }
  return std::nullopt;
}

void check_start(const Config& config, const MetaParameter& parameter, const std::string& path) {
  const std::string kind(name_of(parameter.kind));
  const auto configured = value_in_inner(config.inner, parameter.kind);
  const std::optional<double> start = parameter.init ? parameter.init : configured;
  if (!start) {
    fail(config, path, "l2 has no start; set inner.l2, or init here");
  }
  const std::string where = parameter.init ? path + ".init" : path;
  const bool fraction = parameter.kind == MetaKind::momentum || parameter.kind == MetaKind::beta1 ||
                        parameter.kind == MetaKind::beta2;
  if (*start < 0 || (fraction && *start >= 1)) {
    fail(config, where,
         kind + " cannot start at " + number_text(*start) + "; it needs " +
             (fraction ? "a number in [0, 1)" : "a number >= 0"));
  }
  const std::optional<double> eta = inverse_transform(parameter.transform, *start);
  const std::string transform(name_of(parameter.transform));
  if (!eta) {
    fail(config, where,
         kind + " cannot start at " + number_text(*start) + " with transform " + transform +
             ", whose values lie in " +
             (parameter.transform == Transform::sigmoid ? "(0, 1)" : "(0, .inf)") +
             "; set init to one of them");
  }
  if (!parameter.bounds) return;
  const auto [low, high] = *parameter.bounds;
  if (*eta < low || *eta > high) {
    const bool identity = parameter.transform == Transform::identity;
    fail(config, path + ".bounds",
         kind + " starts at " + number_text(*start) +
             (identity ? "" : ", that is eta = " + number_text(*eta) + " before " + transform) +
             ", outside of [" + number_text(low) + ", " + number_text(high) +
             "]; widen the bounds or change init");
  }
}

void check_loss_weights(const Config& config, const std::string& path) {
  const auto* tokens = std::get_if<TokensData>(&config.data.source);
  if (tokens != nullptr && tokens->batch == 1) {
    fail(config, path + ".kind",
         "loss_weights are shares of a batch, and the one sequence of data.batch 1 has the share 1 "
         "whatever its score, so their meta-gradient would be zero; raise data.batch");
  }
}

void check_meta_parameter(const Config& config, const MetaParameter& parameter,
                          const std::string& path) {
  const std::string kind(name_of(parameter.kind));
  const OptimizerKind optimizer = config.inner.optimizer.kind;
  const std::vector<std::string_view> owners = optimizers_with(parameter.kind);
  if (!owners.empty() && std::ranges::find(owners, name_of(optimizer)) == owners.end()) {
    fail(config, path + ".kind",
         "the inner optimizer " + std::string(name_of(optimizer)) + " has no " + kind +
             "; set inner.optimizer.kind to " + join(owners, " or "));
  }
  const bool in_loss = parameter.kind == MetaKind::l2 || parameter.kind == MetaKind::loss_weights;
  if (in_loss && config.gradient.mode == Mode::first_order) {
    fail(config, path + ".kind",
         kind +
             " acts through the inner gradient, which gradient.mode first_order holds constant, so "
             "its meta-gradient would be zero; set gradient.mode: mixed");
  }
  const std::int64_t differentiated = config.inner.differentiated_steps();
  if (parameter.granularity == Granularity::per_step && differentiated < config.inner.steps) {
    fail(config, path + ".granularity",
         "per_step has a value for each of inner.steps " + std::to_string(config.inner.steps) +
             ", but inner.window lets derivatives into the last " + std::to_string(differentiated) +
             " only, so the meta-gradient of the others would be zero; remove inner.window, or set "
             "granularity: scalar");
  }
  if (parameter.kind == MetaKind::loss_weights) return check_loss_weights(config, path);
  if (parameter.kind != MetaKind::init) return check_start(config, parameter, path);
  if (config.inner.carries_state()) {
    fail(config, path + ".kind",
         "init is where inner training starts, but inner.reset_every " +
             std::to_string(config.inner.reset_every) +
             " goes on from the meta-step before, whose end counts as a constant; set "
             "inner.reset_every: 1");
  }
  if (differentiated < config.inner.steps) {
    fail(config, path + ".kind",
         "init acts before the last " + std::to_string(differentiated) + " of " +
             std::to_string(config.inner.steps) +
             " steps, so inner.window makes its meta-gradient zero; remove inner.window");
  }
}

void check_meta_parameters(const Config& config) {
  const auto& parameters = config.meta.parameters;
  if (parameters.empty()) {
    fail(config, "meta.parameters",
         "an empty list leaves nothing to learn; list at least one, such as {kind: init}");
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const std::string path = "meta.parameters[" + std::to_string(i) + "]";
    for (std::size_t j = 0; j < i; ++j) {
      if (parameters[j].kind != parameters[i].kind) continue;
      fail(config, path + ".kind",
           std::string(name_of(parameters[i].kind)) + " is already meta.parameters[" +
               std::to_string(j) + "]; list each kind once");
    }
    check_meta_parameter(config, parameters[i], path);
  }
}

// What the stopped denominator would silently leave out.
void check_stop_denominator(const Config& config) {
  if (!config.inner.optimizer.stop_denominator) return;
  if (config.gradient.mode == Mode::finite_difference) {
    fail(config, "gradient.mode",
         "finite_difference moves the denominators too, which "
         "inner.optimizer.stop_denominator holds constant; set gradient.mode: mixed, or remove "
         "stop_denominator");
  }
  for (std::size_t i = 0; i < config.meta.parameters.size(); ++i) {
    if (config.meta.parameters[i].kind != MetaKind::beta2) continue;
    fail(config, "meta.parameters[" + std::to_string(i) + "].kind",
         "beta2 acts through the denominator, which inner.optimizer.stop_denominator holds "
         "constant, so its meta-gradient would be zero; remove stop_denominator");
  }
}

// --- the rest ------------------------------------------------------------------------

void check_lengths(const Config& config) {
  const auto number = [](std::int64_t n) { return std::to_string(n); };
  const InnerConfig& inner = config.inner;
  const MetaConfig& meta = config.meta;
  if (inner.window > inner.steps) {
    fail(config, "inner.window",
         "a window of " + number(inner.window) + " is longer than the unroll, inner.steps " +
             number(inner.steps) + "; shorten it, or 0 for all steps");
  }
  if (inner.carries_state() && config.gradient.mode == Mode::finite_difference) {
    fail(config, "gradient.mode",
         "finite_difference unrolls from theta_0, but inner.reset_every " +
             number(inner.reset_every) +
             " carries the inner state on; set gradient.mode: mixed, or inner.reset_every: 1");
  }
  if (meta.schedule.warmup > meta.steps) {
    fail(config, "meta.schedule.warmup",
         "a warm-up of " + number(meta.schedule.warmup) +
             " meta-steps is longer than the training, meta.steps " + number(meta.steps));
  }
  const std::int64_t chunk = config.gradient.chunk;
  if (chunk > 0 && meta.batch % chunk != 0) {
    fail(config, "gradient.chunk",
         "expected a divisor of meta.batch " + number(meta.batch) + ", got " + number(chunk));
  }
  if (meta.early_stop.patience > 0 && meta.eval.every == 0) {
    fail(config, "meta.early_stop.patience",
         "counts evaluations along the way, but meta.eval.every is 0; set that, to " +
             number(std::max<std::int64_t>(meta.steps / 20, 1)) + ", say");
  }
  std::set<std::int64_t> seen;
  for (const std::int64_t steps : meta.eval.steps) {
    if (!seen.insert(steps).second) {
      fail(config, "meta.eval.steps", number(steps) + " is listed twice; list each number once");
    }
  }
}

}  // namespace

std::optional<double> inverse_transform(Transform transform, double value) {
  switch (transform) {
    case Transform::identity:
      return value;
    case Transform::exp:
      return value > 0 ? std::optional(std::log(value)) : std::nullopt;
    case Transform::softplus:
      // log(e^v - 1) without overflow
      return value > 0 ? std::optional(value + std::log(-std::expm1(-value))) : std::nullopt;
    case Transform::sigmoid:
      return value > 0 && value < 1 ? std::optional(std::log(value) - std::log1p(-value))
                                    : std::nullopt;
  }
  return std::nullopt;
}

double default_eps_root(Precision precision) {
  switch (precision) {
    case Precision::f64:
      return 1e-12;
    case Precision::f32:
      return 1e-7;
    case Precision::bf16:
      return 1e-6;
  }
  return 0;
}

void check_relations(Config& config) {
  if (!config.origins.contains("inner.optimizer.eps_root")) {
    config.inner.optimizer.eps_root = default_eps_root(config.precision);
  }
  resolve_models(config);
  check_tokens(config);
  if (transformer(config) != nullptr && !config.origins.contains("inner.loss")) {
    config.inner.loss = Loss::cross_entropy;
  }
  if (const auto* tabular = std::get_if<TabularData>(&config.data.source)) {
    check_tabular(config, *tabular);
  }
  if (const auto* episodes = std::get_if<EpisodesData>(&config.data.source)) {
    check_episodes(config, *episodes);
  }
  check_preset(config);
  check_loss(config);
  check_lengths(config);
  check_meta_parameters(config);
  check_stop_denominator(config);
  add_warnings(config);
}

}  // namespace mixflow
