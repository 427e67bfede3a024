#include "config/schema.h"

#include "config/check.h"

namespace mixflow {
namespace {

using Form = TextType::Form;

// Intervals that several keys share.
constexpr Interval kAny{};
constexpr Interval kAnyOrInfinite{.infinite = true};
constexpr Interval kPositive{.low = 0, .low_open = true};
constexpr Interval kNotNegative{.low = 0};
constexpr Interval kUnit{.low = 0, .high = 1};
constexpr Interval kBelowOne{.low = 0, .high = 1, .high_open = true};
constexpr Interval kInsideUnit{.low = 0, .high = 1, .low_open = true, .high_open = true};

// A field of the kind of data that DataConfig holds.
template <class Source, class Field>
auto of(Field Source::*field) {
  return [field](DataConfig& data) -> Field& { return std::get<Source>(data.source).*field; };
}

// The same of how a table of text is written down.
template <class Field>
auto of(Field CsvForm::*field) {
  return
      [field](DataConfig& data) -> Field& { return std::get<TabularData>(data.source).csv.*field; };
}

bool is_token_kind(std::string_view kind) {
  return kind == "text" || kind == "tokens" || kind == "random_tokens";
}

std::string data_kind(const DataConfig& data) { return data.kind; }

void set_data_kind(DataConfig& data, const std::string& kind) {
  data.kind = kind;
  if (kind == "sinusoid") {
    data.source = SinusoidData{};
  } else if (kind == "episodes") {
    data.source = EpisodesData{};
  } else if (is_token_kind(kind)) {
    data.source = TokensData{};
  } else {
    data.source = TabularData{};
  }
}

// Splits with files of their own, and what tables of text need besides.
void add_tables(Keys<DataConfig>& keys) {
  keys.text("validation_x", of(&TabularData::validation_x), Form::path,
            "examples that the outer loss sees, instead of a share of those in x")
      .when({"tabular"})
      .also({"val_x", "x_validation", "x_val", "validation_path"});
  keys.text("validation_y", of(&TabularData::validation_y), Form::path,
            "their targets, where y has a file of its own")
      .when({"tabular"})
      .also({"val_y", "y_validation", "y_val"});
  keys.text("test_x", of(&TabularData::test_x), Form::path,
            "examples kept for evaluation, instead of a share of those in x")
      .when({"tabular"})
      .also({"x_test", "test_path"});
  keys.text("test_y", of(&TabularData::test_y), Form::path,
            "their targets, where y has a file of its own")
      .when({"tabular"})
      .also({"y_test"});
  keys.texts("columns", of(&TabularData::columns), Form::column,
             "columns of the table in x to read, by name or number; none: all but the targets")
      .when({"tabular"})
      .also({"features", "use_columns", "usecols"});
  keys.texts("ignore", of(&TabularData::ignore), Form::column,
             "columns of the table in x to leave out, by name or number")
      .when({"tabular"})
      .also({"drop", "exclude", "ignore_columns"});
  keys.choice("separator", of(&CsvForm::separator),
              {"auto", "comma", "semicolon", "tab", "space", "bar"},
              "what separates the cells of a table of text; auto: by what they have in common")
      .when({"tabular"})
      .also({"sep", "delimiter", "delim"});
  keys.choice("decimal", of(&CsvForm::decimal), {"auto", "point", "comma"},
              "decimal sign of a table of text")
      .when({"tabular"});
  keys.choice("header", of(&CsvForm::header), {"auto", "true", "false"},
              "whether a table of text begins with the names of its columns")
      .when({"tabular"});
  keys.choice(
          "missing", of(&CsvForm::missing), {"error", "drop", "mean"},
          "missing cells (empty, NA, NaN, null, ?): an error, drop the row, or the training mean")
      .when({"tabular"})
      .also({"na", "nan", "missing_values"});
}

// digits and mnist are tabular with files and a normalisation of their own.
void add_tabular_files(Keys<DataConfig>& keys) {
  const auto x = of(&TabularData::x), y = of(&TabularData::y);
  keys.text(
          "x", x, Form::path,
          "examples, one per row: .npy, .npz:member or a table of text (.csv, .tsv, .data, .gz of "
          "these)")
      .when({"tabular"})
      .must()
      .also({"inputs", "features", "file", "path"});
  keys.text("y", y, Form::path, "targets: a file like x, where x does not hold them")
      .when({"tabular"})
      .also({"targets"});
  keys.text("target_column", of(&TabularData::target_column), Form::column,
            "column of targets, in the table of x or of y: name, or number from 0, -1 for the last")
      .when({"tabular"})
      .also({"target_col", "label_column"});
  add_tables(keys);
  for (const std::string_view kind : {"digits", "mnist"}) {
    const std::string base = "data/" + std::string(kind);
    keys.text("x", x, Form::path, "images, written by scripts/fetch_data.sh " + std::string(kind))
        .when({kind})
        .otherwise(base + "_x.npy");
    keys.text("y", y, Form::path, "labels, written by scripts/fetch_data.sh " + std::string(kind))
        .when({kind})
        .otherwise(base + "_y.npy");
  }
  keys.choice("target", of(&TabularData::target), "what the targets are").when({"tabular"});
}

void add_labels(Keys<DataConfig>& keys) {
  const std::string doc =
      "auto: labels in their order are classes 0, 1, ..; exact: label = class; or the labels, "
      "listed";
  keys.texts("labels", of(&TabularData::labels), Form::any, doc)
      .when({"tabular", "digits", "mnist"})
      .also({"label_map", "class_names", "classes"});
  keys.texts("labels", of(&EpisodesData::labels), Form::any, doc)
      .when({"episodes"})
      .also({"label_map", "class_names", "classes"});
}

void add_tabular(Keys<DataConfig>& keys) {
  add_tabular_files(keys);
  add_labels(keys);
  const std::vector<std::string_view> normalizations{"none", "standard", "unit"};
  const std::string normalize_doc =
      "scaling of x: standard (training rows: mean 0, deviation 1), unit (largest magnitude 1)";
  keys.choice("normalize", of(&TabularData::normalize), normalizations, normalize_doc)
      .when({"tabular"});
  keys.choice("normalize", of(&TabularData::normalize), normalizations, normalize_doc)
      .when({"digits", "mnist"})
      .otherwise("unit");
  keys.choice("normalize", of(&EpisodesData::normalize), normalizations, normalize_doc)
      .when({"episodes"});
  keys.number("validation", of(&TabularData::validation), kBelowOne,
              "share of the rows that the outer loss sees; 0 with validation_x")
      .when({"tabular", "digits", "mnist"});
  keys.number("test", of(&TabularData::test), kBelowOne,
              "share of the rows kept for evaluation; 0 with test_x")
      .when({"tabular", "digits", "mnist"});
  keys.choice("split", of(&TabularData::split), {"random", "ordered"},
              "rows drawn by the seed, or taken as they come: training, validation, test")
      .when({"tabular", "digits", "mnist"});
  keys.integer("batch", of(&TabularData::batch), 0,
               "training examples per inner step; 0: all of them in every step")
      .when({"tabular", "digits", "mnist"})
      .in("examples")
      .also({"batch_size"});
  keys.integer("outer_batch", of(&TabularData::outer_batch), 0,
               "validation examples per outer loss; 0: all of them")
      .when({"tabular", "digits", "mnist"})
      .in("examples");
}

void add_tokens(Keys<DataConfig>& keys) {
  const std::initializer_list<std::string_view> files{"text", "tokens"};
  const std::initializer_list<std::string_view> all{"text", "tokens", "random_tokens"};
  keys.texts(
          "path", of(&TokensData::path), Form::path,
          "files whose bytes are the tokens: names, patterns such as \"data/*.txt\", directories")
      .when({"text"})
      .otherwise(std::vector<std::string>{"/usr/share/common-licenses"})
      .also({"file", "files", "paths", "directory", "dir", "x"});
  keys.texts("path", of(&TokensData::path), Form::path,
             "token ids: integer .npy files of one axis, or .bin files of the type in dtype")
      .when({"tokens"})
      .must()
      .also({"file", "files", "paths", "x"});
  keys.texts("validation_path", of(&TokensData::validation_path), Form::path,
             "files that the outer loss sees, instead of a share of those in path")
      .when(files)
      .also({"val_path", "valid_path", "validation_file", "validation_files", "val"});
  keys.texts("test_path", of(&TokensData::test_path), Form::path,
             "files kept for evaluation, instead of a share of those in path")
      .when(files)
      .also({"test_file", "test_files", "eval_path"});
  keys.choice("dtype", of(&TokensData::dtype),
              {"uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"},
              "type of the ids in a .bin, little-endian; a .npy and llm.c's header have their own")
      .when({"tokens"});
  keys.integer("sequence", of(&TokensData::sequence), 1,
               "tokens that the model reads per example (S); it predicts as many")
      .when(all)
      .in("tokens")
      .also({"seq", "seq_len", "sequence_length", "context", "S"});
  keys.integer("batch", of(&TokensData::batch), 1, "sequences per inner step (B)")
      .when(all)
      .in("sequences")
      .also({"batch_size", "B"});
  keys.integer("outer_batch", of(&TokensData::outer_batch), 0,
               "sequences per outer loss; 0: as many as batch")
      .when(all)
      .in("sequences");
  keys.number("validation", of(&TokensData::validation), kBelowOne,
              "share of each file, before its test share, that the outer loss sees; 0 with "
              "validation_path")
      .when(files);
  keys.number("test", of(&TokensData::test), kBelowOne,
              "share at the end of each file kept for evaluation; 0 with test_path")
      .when(files);
  keys.number("corrupt", of(&TokensData::corrupt), kUnit,
              "share of the inner examples that are replaced by random tokens")
      .when(files)
      .also({"corruption", "noise"});
}

std::vector<Key> data_keys() {
  Keys<DataConfig> keys;
  keys.custom_choice(
          "kind",
          {"sinusoid", "tabular", "digits", "mnist", "episodes", "text", "tokens", "random_tokens"},
          data_kind, set_data_kind, "where tasks come from")
      .must()
      .also({"type", "name", "dataset"});
  keys.integer("shots", of(&SinusoidData::shots), 1, "support examples per task (K)")
      .when({"sinusoid"})
      .in("examples")
      .also({"k", "K", "k_shot"});
  keys.integer("queries", of(&SinusoidData::queries), 1, "query examples per task")
      .when({"sinusoid"})
      .in("examples")
      .also({"query"});
  keys.range("amplitude", of(&SinusoidData::amplitude), kAny, "A of y = A sin(w x - phase)")
      .when({"sinusoid"});
  keys.range("phase", of(&SinusoidData::phase), kAny, "phase of y = A sin(w x - phase)")
      .when({"sinusoid"})
      .in("radians");
  keys.range("frequency", of(&SinusoidData::frequency), kAny, "w of y = A sin(w x - phase)")
      .when({"sinusoid"});
  keys.range("x", of(&SinusoidData::x), kAny, "where x is drawn from").when({"sinusoid"});
  add_tabular(keys);
  keys.text("x", of(&EpisodesData::x), Form::path, "examples, one per row: .npy or .npz:member")
      .when({"episodes"})
      .must();
  keys.text("y", of(&EpisodesData::y), Form::path, "labels: .npy or .npz:member")
      .when({"episodes"})
      .must();
  keys.integer("ways", of(&EpisodesData::ways), 2, "classes per task")
      .when({"episodes"})
      .also({"way", "n_way"});
  keys.integer("shots", of(&EpisodesData::shots), 1, "support examples per class")
      .when({"episodes"})
      .in("examples");
  keys.integer("queries", of(&EpisodesData::queries), 1, "query examples per class")
      .when({"episodes"})
      .in("examples");
  keys.integers("train_classes", of(&EpisodesData::train_classes), 0, "[0, 1, 2]",
                "classes of training tasks; empty: the first 60 % of all")
      .when({"episodes"});
  keys.integers("validation_classes", of(&EpisodesData::validation_classes), 0, "[3, 4, 5]",
                "classes of the tasks evaluated during training; empty: the next 20 %")
      .when({"episodes"});
  keys.integers("test_classes", of(&EpisodesData::test_classes), 0, "[6, 7, 8]",
                "classes of the tasks evaluated before and after; empty: the last 20 %")
      .when({"episodes"});
  add_tokens(keys);
  return keys.take();
}

// A field of the kind of model that ModelConfig holds.
template <class Model, class Field>
auto model_of(Field Model::*field) {
  return [field](ModelConfig& model) -> Field& { return std::get<Model>(model).*field; };
}

std::string model_kind(const ModelConfig& model) {
  return std::holds_alternative<MlpModel>(model) ? "mlp" : "transformer";
}

void set_model_kind(ModelConfig& model, const std::string& kind) {
  if (kind == "mlp") {
    model = MlpModel{};
  } else {
    model = TransformerModel{};
  }
}

// `at`: from a field of TransformerModel to how Owner's keys reach it.
template <class Owner, class At>
void add_transformer(Keys<Owner>& keys, At at) {
  keys.text("size", at(&TransformerModel::size), Form::any,
            "a row of the Chinchilla table, such as 44M, 489M or 16B; gives the sizes below")
      .when({"transformer"})
      .also({"preset"});
  keys.integer("vocab", at(&TransformerModel::vocab), 2, "number of tokens (V)")
      .when({"transformer"})
      .also({"vocab_size", "vocabulary", "V"});
  keys.integer("d_model", at(&TransformerModel::d_model), 0, "width (d); 0: from size")
      .when({"transformer"})
      .also({"d", "dim", "width", "hidden_size"});
  keys.integer("ffw", at(&TransformerModel::ffw), 0,
               "width of the feed-forward layers; 0: from size")
      .when({"transformer"})
      .also({"ffw_size", "d_ff", "mlp_size"});
  keys.integer("heads", at(&TransformerModel::heads), 0, "attention heads; 0: from size")
      .when({"transformer"})
      .also({"n_heads", "num_heads"});
  keys.integer("kv_size", at(&TransformerModel::kv_size), 0, "width of a head, even; 0: from size")
      .when({"transformer"})
      .also({"kv", "head_dim", "d_head"});
  keys.integer("layers", at(&TransformerModel::layers), 0, "number of blocks; 0: from size")
      .when({"transformer"})
      .also({"n_layers", "num_layers", "depth"});
}

std::vector<Key> model_keys() {
  Keys<ModelConfig> keys;
  keys.custom_choice("kind", {"mlp", "transformer"}, model_kind, set_model_kind, "the network")
      .must()
      .also({"type", "name"});
  keys.integers("hidden", model_of(&MlpModel::hidden), 1, "[40, 40]",
                "widths of the hidden layers; empty: a linear model")
      .when({"mlp"})
      .also({"layers", "widths", "hidden_sizes", "units"});
  keys.choice("activation", model_of(&MlpModel::activation), "between layers")
      .when({"mlp"})
      .also({"nonlinearity"});
  keys.truth("bias", model_of(&MlpModel::bias), "whether layers have biases").when({"mlp"});
  keys.choice("init", model_of(&MlpModel::init),
              "weights: normal with deviation sqrt(1/fan_in) or (he) sqrt(2/fan_in), or zero")
      .when({"mlp"})
      .also({"initializer", "initialization"});
  add_transformer(keys, [](auto field) { return model_of(field); });
  return keys.take();
}

std::vector<Key> scorer_keys() {
  Keys<TransformerModel> keys;
  keys.custom_choice(
          "kind", {"transformer"},
          [](const TransformerModel&) { return std::string("transformer"); },
          [](TransformerModel&, const std::string&) {}, "the network")
      .must()
      .also({"type", "name"});
  add_transformer(keys, [](auto field) { return field; });
  return keys.take();
}

// `inner`: of the optimiser that is differentiated.
Keys<OptimizerConfig> optimizer_keys(bool inner) {
  Keys<OptimizerConfig> keys;
  keys.choice("kind", &OptimizerConfig::kind, "the update rule").also({"type", "name"});
  keys.number("lr", &OptimizerConfig::lr, kPositive, "learning rate")
      .also({"learning_rate", "step_size", "rate", "alpha"});
  keys.number("momentum", &OptimizerConfig::momentum, kBelowOne, "share of the velocity kept")
      .when({"momentum", "nesterov"})
      .also({"mu"});
  keys.number("beta1", &OptimizerConfig::beta1, kBelowOne, "decay of the mean of gradients")
      .when({"adam", "adamw"})
      .also({"betas", "b1"});
  keys.number("beta2", &OptimizerConfig::beta2, kBelowOne, "decay of the mean of squares")
      .when({"adam", "adamw"})
      .also({"b2"});
  keys.number("beta2", &OptimizerConfig::beta2, kBelowOne, "decay of the mean of squares")
      .when({"rmsprop"})
      .otherwise(0.9)
      .also({"rho", "decay", "alpha"});
  keys.number("eps", &OptimizerConfig::eps, kNotNegative, "added outside the square root")
      .when({"adam", "adamw", "rmsprop"})
      .also({"epsilon"});
  Key& eps_root = keys.number("eps_root", &OptimizerConfig::eps_root, kNotNegative,
                              "added inside the square root: keeps its derivative finite at 0")
                      .when({"adam", "adamw", "rmsprop"})
                      .also({"epsilon_root"});
  if (inner) {
    eps_root.doc += "; f64: 1e-12, bf16: 1e-6";
    eps_root.otherwise(default_eps_root(Precision::f32));
  }
  keys.number("weight_decay", &OptimizerConfig::weight_decay, kNotNegative,
              "decoupled decay of the weights")
      .when({"adamw"})
      .also({"decay", "wd"});
  return keys;
}

std::vector<Key> inner_optimizer_keys() {
  Keys<OptimizerConfig> keys = optimizer_keys(true);
  keys.truth("stop_denominator", &OptimizerConfig::stop_denominator,
             "derivatives take sqrt(v + eps_root) + eps, and so v, for a constant")
      .when({"adam", "adamw", "rmsprop"})
      .also({"stop_gradient", "detach_denominator"});
  return keys.take();
}

std::vector<Key> inner_keys() {
  Keys<InnerConfig> keys;
  keys.choice("loss", &InnerConfig::loss,
              "inner and outer loss; a transformer's default is cross_entropy")
      .also({"objective"});
  keys.integer("steps", &InnerConfig::steps, 1, "inner steps per task (T)")
      .in("steps")
      .also({"unroll", "T", "iterations", "num_steps"});
  keys.integer("window", &InnerConfig::window, 0,
               "differentiate the last K of the T steps only; 0: all")
      .in("steps")
      .also({"truncation", "K", "truncate"});
  keys.integer(
          "reset_every", &InnerConfig::reset_every, 0,
          "from one start of the inner state at theta_0 to the next, carried on between; 0: one "
          "start only")
      .in("meta-steps")
      .also({"reset", "reset_interval", "lifetime"});
  keys.number("l2", &InnerConfig::l2, kNotNegative,
              "h of the term 1/2 sum h w^2 of the inner loss; null: no such term")
      .also({"weight_decay", "regularization", "ridge"});
  keys.section("optimizer", &InnerConfig::optimizer, inner_optimizer_keys(),
               "the inner update rule")
      .also({"optimiser", "optim", "opt"});
  return keys.take();
}

std::vector<Key> meta_parameter_keys() {
  Keys<MetaParameter> keys;
  keys.choice("kind", &MetaParameter::kind, "what is learned").must().also({"type", "name"});
  keys.choice("granularity", &MetaParameter::granularity,
              "one value for all, per weight tensor, per weight, or per inner step")
      .when({"lr", "momentum", "beta1", "beta2", "weight_decay", "l2"});
  keys.choice("transform", &MetaParameter::transform,
              "the hyper-parameter is transform(eta); the meta-optimiser moves eta")
      .when({"lr", "momentum", "beta1", "beta2", "weight_decay", "l2"});
  keys.range("bounds", &MetaParameter::bounds, kAnyOrInfinite,
             "eta is put back into them after each meta-step; null: none")
      .also({"clip", "limits", "range"});
  keys.number("init", &MetaParameter::init, kAny,
              "start of the hyper-parameter; null: its value under inner")
      .when({"lr", "momentum", "beta1", "beta2", "weight_decay", "l2"})
      .also({"start", "initial", "value"});
  keys.section("model", &MetaParameter::model, scorer_keys(),
               "the network that scores the examples: weights are softmax(scores) over the batch")
      .when({"loss_weights"})
      .also({"network"});
  return keys.take();
}

std::vector<Key> schedule_keys() {
  Keys<Schedule> keys;
  keys.choice("kind", &Schedule::kind, "shape of the meta learning rate over time").also({"type"});
  keys.integer("warmup", &Schedule::warmup, 0, "linear rise from 0 at the start")
      .in("meta-steps")
      .also({"warmup_steps"});
  keys.number("final_fraction", &Schedule::final_fraction, kUnit,
              "last rate as a fraction of the first")
      .when({"cosine"})
      .also({"final", "alpha", "end"});
  keys.integer("every", &Schedule::every, 1, "between two reductions")
      .when({"step"})
      .in("meta-steps")
      .also({"step_size", "period"});
  keys.number("factor", &Schedule::factor, {.low = 0, .high = 1, .low_open = true},
              "what each reduction multiplies the rate by")
      .when({"step"})
      .also({"gamma", "decay"});
  return keys.take();
}

std::vector<Key> eval_keys() {
  Keys<EvalConfig> keys;
  keys.integer("every", &EvalConfig::every, 0,
               "between evaluations; 0: only before and after training")
      .in("meta-steps")
      .also({"interval", "period"});
  keys.integer("tasks", &EvalConfig::tasks, 0,
               "of each evaluation; 0: 4 to 100, by a tenth of the training's cost")
      .in("tasks");
  keys.integers("steps", &EvalConfig::steps, 0, "[0, 1, 5]",
                "numbers of inner steps after which to report; empty: 0 and inner.steps");
  return keys.take();
}

std::vector<Key> early_stop_keys() {
  Keys<EarlyStop> keys;
  keys.integer("patience", &EarlyStop::patience, 0,
               "this many in a row without a better validation loss end the training; 0: never")
      .in("evaluations");
  return keys.take();
}

std::vector<Key> meta_keys() {
  Keys<MetaConfig> keys;
  keys.list("parameters", &MetaConfig::parameters, meta_parameter_keys(), "what is learned")
      .must()
      .also({"params", "parameter", "meta_parameters"});
  keys.section("optimizer", &MetaConfig::optimizer, optimizer_keys(false).take(),
               "the meta-update rule")
      .also({"optimiser", "optim", "opt"});
  keys.section("schedule", &MetaConfig::schedule, schedule_keys(),
               "how the meta learning rate changes")
      .also({"lr_schedule", "scheduler"});
  keys.number("clip_norm", &MetaConfig::clip_norm, kNotNegative,
              "largest global norm of the meta-gradient; 0: any")
      .also({"clip", "max_norm", "grad_clip"});
  keys.integer("batch", &MetaConfig::batch, 1, "tasks per meta-step (N)")
      .in("tasks")
      .also({"batch_size", "tasks"});
  keys.integer("steps", &MetaConfig::steps, 1, "length of the training")
      .in("meta-steps")
      .also({"iterations", "epochs", "num_steps"});
  keys.section("eval", &MetaConfig::eval, eval_keys(), "evaluation on held-out tasks")
      .also({"evaluation", "validation"});
  keys.section("early_stop", &MetaConfig::early_stop, early_stop_keys(), "when to end early")
      .also({"early_stopping"});
  keys.integer("checkpoint_every", &MetaConfig::checkpoint_every, 1, "between checkpoints")
      .in("meta-steps")
      .also({"checkpoint", "save_every"});
  keys.number("checkpoint_minutes", &MetaConfig::checkpoint_minutes, kNotNegative,
              "one after so long without, too; 0: by checkpoint_every alone")
      .in("minutes")
      .also({"checkpoint_time", "save_minutes"});
  return keys.take();
}

std::vector<Key> remat_policy_keys() {
  Keys<RematPolicy> keys;
  keys.choice("gradients", &RematPolicy::gradients, "what blocks keep in gradients of L and V");
  keys.choice("second_order", &RematPolicy::second_order,
              "what blocks keep where mixed mode differentiates a gradient");
  keys.integer("reuse", &RematPolicy::reuse, -1,
               "the last steps that keep what their gradients computed, for second order; -1: all")
      .in("inner steps");
  return keys.take();
}

std::vector<Key> remat_keys() {
  Keys<RematConfig> keys;
  keys.truth("step", &RematConfig::step, "keep only the carried state of each inner step");
  keys.truth("block", &RematConfig::block, "keep only the input of each block");
  keys.truth(
      "save_inner_grads", &RematConfig::save_inner_grads,
      "keep the inner gradients (and a large output layer's cotangent): less is computed again");
  keys.truth("inline", &RematConfig::inline_loops,
             "short loops over few values become straight code, which keeps all that it needs");
  keys.section("policy", &RematConfig::policy, remat_policy_keys(),
               "what blocks keep, pass by pass, where `block` is too coarse");
  return keys.take();
}

std::vector<Key> block_keys() {
  Keys<BlockSizes> keys;
  keys.integer("attention", &BlockSizes::attention, -1,
               "queries per block; 0: chosen from shapes; -1: no blocks, scores of S x S")
      .in("rows");
  keys.integer("feed_forward", &BlockSizes::feed_forward, -1,
               "tokens per block of the feed-forward layers; 0: chosen from shapes; -1: no blocks")
      .in("rows")
      .also({"ffw", "mlp"});
  keys.integer("cross_entropy", &BlockSizes::cross_entropy, -1,
               "tokens per block of the output layer; 0: chosen from shapes; -1: no blocks")
      .in("rows")
      .also({"logits", "head"});
  return keys.take();
}

std::vector<Key> gradient_keys() {
  Keys<GradientConfig> keys;
  keys.choice("mode", &GradientConfig::mode, "how the meta-gradient is computed")
      .also({"kind", "estimator"});
  keys.choice("preset", &GradientConfig::preset,
              "an operating point between memory and time: short for a remat.policy, whose own "
              "keys count more")
      .also({"point", "profile"});
  keys.section("remat", &GradientConfig::remat, remat_keys(), "what is recomputed, not kept")
      .also({"rematerialisation", "rematerialization", "checkpointing"});
  keys.section("blocks", &GradientConfig::blocks, block_keys(),
               "transformers: parts that are computed block by block")
      .also({"block_sizes", "block_size"});
  keys.integer("chunk", &GradientConfig::chunk, 0,
               "tasks computed together; divides meta.batch; 0: one at a time")
      .in("tasks");
  keys.number("finite_difference_eps", &GradientConfig::finite_difference_eps, kPositive,
              "central differences move an entry of eta by this times max(1, |entry|)")
      .also({"fd_eps", "eps"});
  keys.choice("bf16_check", &GradientConfig::bf16_check,
              "train in bf16: compare with f32 first; auto: where that costs little (<5 %)");
  return keys.take();
}

std::vector<Key> config_keys() {
  Keys<Config> keys;
  keys.text("name", &Config::name, Form::word, "names the run and its directory");
  keys.integer("seed", &Config::seed, 0, "seeds everything random").also({"random_seed"});
  keys.choice("precision", &Config::precision,
              "type of all arithmetic; bf16: f32, but the operands of large products are rounded "
              "to bf16")
      .also({"dtype"});
  keys.integer("threads", &Config::threads, 0, kMostThreads, "worker threads; 0: all cores")
      .in("threads")
      .also({"cores", "num_threads", "jobs"});
  keys.section("data", &Config::data, data_keys(), "where tasks come from")
      .must()
      .also({"dataset", "task"});
  keys.section("model", &Config::model, model_keys(), "the network").must().also({"network"});
  keys.section("inner", &Config::inner, inner_keys(), "the inner problem: one task");
  keys.section("meta", &Config::meta, meta_keys(), "the outer problem: what is learned, and how")
      .must()
      .also({"outer"});
  keys.section("gradient", &Config::gradient, gradient_keys(), "the meta-gradient")
      .also({"grad", "gradients"});
  return keys.take();
}

}  // namespace

const std::vector<Key>& schema() {
  static const std::vector<Key> keys = config_keys();
  return keys;
}

}  // namespace mixflow
