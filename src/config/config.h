// The resolved configuration of one experiment: plain structs, every default here and nowhere else.
// Loaded from YAML by load.h, which checks it; printed back whole into a run directory's
// config.yaml. Key names are the YAML's.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace mixflow {

enum class Precision : std::uint8_t { f32, bf16, f64 };

using Range = std::array<double, 2>;  // [low, high]

// --- data ----------------------------------------------------------------------------
// y = A sin(w x - phase) (Finn et al. 2017): one task is one draw of A, w and phase.
struct SinusoidData {
  int shots = 10;    // support examples K
  int queries = 10;  // query examples
  Range amplitude{0.1, 5.0};
  Range phase{0.0, 3.141592653589793};
  Range frequency{1.0, 1.0};
  Range x{-5.0, 5.0};
  bool operator==(const SinusoidData&) const = default;
};

enum class Target : std::uint8_t { classification, regression };

// How a table of text is written down, and what is read of it.
struct CsvForm {
  std::string separator = "auto";  // auto | comma | semicolon | tab | space | bar
  std::string decimal = "auto";    // auto | point | comma
  std::string header = "auto";     // auto | true | false
  std::string missing = "error";   // error | drop (the row) | mean (of the training rows)
  bool operator==(const CsvForm&) const = default;
};

// One fixed task: inner batches from the training split, outer batches from the validation split.
struct TabularData {
  std::string x;  // .npy, .npz:member or a table of text (table_file.h)
  std::string y;  // likewise; empty where the table in x holds the targets
  // Of the table in y or, where there is none, in x: a name, or a number from 0 or (-1) the end.
  std::string target_column;
  // Files of their own for these splits, like x and y.
  std::string validation_x, validation_y, test_x, test_y;
  std::vector<std::string> columns;  // of the table in x, likewise; empty: all but the target
  std::vector<std::string> ignore;   // columns of it that are left out
  CsvForm csv;
  Target target = Target::classification;
  double validation = 0.2;  // share of x's rows; the loader: 0 with a validation_x
  double test = 0.2;        // likewise, with a test_x
  std::vector<std::string> labels{"auto"};  // auto | exact | the labels in order; see data/labels.h
  // random (by seed) | ordered (rows as they come: train, validation, test)
  std::string split = "random";
  // none | standard (train mean and deviation) | unit (divide by the largest magnitude)
  std::string normalize = "none";
  int batch = 0;        // inner examples per step; 0: all of the training split in every step
  int outer_batch = 0;  // outer examples; 0: all of the validation split
  bool operator==(const TabularData&) const = default;
};

// Few-shot episodes over any classification set.
struct EpisodesData {
  std::string x, y;                         // as in tabular
  std::vector<std::string> labels{"auto"};  // likewise
  int ways = 5;
  int shots = 1;
  int queries = 5;  // per class
  std::string normalize = "none";
  // Classes of each meta-split; all empty: classes in order, shared out 60/20/20. Where they are
  // given, train and validation both are; test may stay empty.
  std::vector<int> train_classes, validation_classes, test_classes;
  bool operator==(const EpisodesData&) const = default;
};

// Sequences of S + 1 tokens, cut at random places: text (bytes of files), tokens (an array) or
// random_tokens (uniform over the model's vocabulary).
struct TokensData {
  // Files, patterns and directories: of any text, or of ids (.npy, .bin); see data/find_files.h.
  std::vector<std::string> path;
  std::vector<std::string> validation_path;  // files of their own instead of shares of those
  std::vector<std::string> test_path;
  // Of a .bin without a header: uint8 | uint16 | uint32 | uint64 | int8 | int16 | int32 | int64.
  std::string dtype = "uint16";
  std::int64_t sequence = 256;   // S
  std::int64_t batch = 4;        // B of the inner loss
  std::int64_t outer_batch = 0;  // B of the outer loss; 0: batch
  // Share of the end of each file of `path` that the outer loss sees; the loader: 0 where there is
  // a validation_path.
  double validation = 0.1;
  double test = 0.1;   // share after that, kept for evaluation; the loader: 0 with a test_path
  double corrupt = 0;  // share of inner examples replaced by random tokens
  bool operator==(const TokensData&) const = default;
};

struct DataConfig {
  // digits and mnist are tabular over data/<kind>_{x,y}.npy, resolved by the loader.
  std::variant<SinusoidData, TabularData, EpisodesData, TokensData> source = SinusoidData{};
  // As written: sinusoid | tabular | digits | mnist | episodes | text | tokens | random_tokens.
  std::string kind = "sinusoid";
  bool operator==(const DataConfig&) const = default;
};

// --- model ---------------------------------------------------------------------------
enum class Activation : std::uint8_t { relu, tanh, gelu, sigmoid, silu };
enum class Init : std::uint8_t {
  fan_in,  // normal, deviation sqrt(1/fan_in); biases zero
  he,      // normal, deviation sqrt(2/fan_in); biases zero
  zero,
};

struct MlpModel {
  std::vector<int> hidden;  // empty: a linear model
  Activation activation = Activation::relu;
  bool bias = true;
  Init init = Init::fan_in;
  // Widths of input and output: from the data.
  bool operator==(const MlpModel&) const = default;
};

// Decoder of Chinchilla's shapes (Hoffmann et al. 2022) with rotary positions; see
// models/transformer.h.
struct TransformerModel {
  std::string size;  // a row of chinchilla.h, which gives all of the below but the vocabulary
  int vocab = 256;
  std::int64_t d_model = 0;  // 0: from `size`; the loader fills it in
  std::int64_t ffw = 0;
  std::int64_t heads = 0;
  std::int64_t kv_size = 0;  // per head; heads * kv_size may differ from d_model
  std::int64_t layers = 0;
  bool operator==(const TransformerModel&) const = default;
};

using ModelConfig = std::variant<MlpModel, TransformerModel>;

// --- inner problem -------------------------------------------------------------------
enum class Loss : std::uint8_t { mse, cross_entropy, bce };
enum class OptimizerKind : std::uint8_t { sgd, momentum, nesterov, adam, adamw, rmsprop };

struct OptimizerConfig {
  OptimizerKind kind = OptimizerKind::sgd;
  double lr = 0.01;
  double momentum = 0.9;  // momentum, nesterov
  double beta1 = 0.9;     // adam, adamw
  double beta2 = 0.999;   // adam, adamw; rmsprop's decay (the loader's default there is 0.9)
  double eps = 1e-8;      // adam, adamw, rmsprop
  // Likewise, inside the square root: keeps the derivative finite at v = 0. The loader's default
  // for the inner optimiser goes by precision: check.h.
  double eps_root = 1e-12;
  double weight_decay = 0.0;  // adamw, decoupled
  // inner; adam, adamw, rmsprop: derivatives take sqrt(v + eps_root) + eps for a constant
  bool stop_denominator = false;
  bool operator==(const OptimizerConfig&) const = default;
};

struct InnerConfig {
  Loss loss = Loss::mse;
  std::int64_t steps = 1;   // T
  std::int64_t window = 0;  // K: differentiate the last K of T steps only; 0: all
  // R: meta-steps after which the inner state starts again from theta_0; between them each task
  // carries its state on. 1: every meta-step starts afresh; 0: never again.
  std::int64_t reset_every = 1;
  std::optional<double> l2;  // h of 1/2 sum h w^2; absent: no such term
  OptimizerConfig optimizer;
  // The inner state outlives a meta-step.
  bool carries_state() const { return reset_every != 1; }
  std::int64_t differentiated_steps() const { return window > 0 ? std::min(window, steps) : steps; }
  bool operator==(const InnerConfig&) const = default;
};

// --- meta problem --------------------------------------------------------------------
enum class MetaKind : std::uint8_t {
  init,
  lr,
  momentum,
  beta1,
  beta2,
  weight_decay,
  l2,
  loss_weights,  // a network that scores the examples of an inner batch
};
enum class Granularity : std::uint8_t { scalar, per_tensor, per_parameter, per_step };
enum class Transform : std::uint8_t { identity, exp, softplus, sigmoid };

struct MetaParameter {
  MetaKind kind = MetaKind::init;
  Granularity granularity = Granularity::scalar;  // not for init
  Transform transform = Transform::identity;      // the hyper-parameter is transform(eta)
  // eta (before the transform) is projected into them after each meta-step; either may be infinite.
  std::optional<Range> bounds;
  // Start of the hyper-parameter (after the transform); default: its value in `inner`.
  std::optional<double> init;
  TransformerModel model;  // loss_weights: the scoring network
  bool operator==(const MetaParameter&) const = default;
};

enum class ScheduleKind : std::uint8_t { constant, cosine, step };
struct Schedule {
  ScheduleKind kind = ScheduleKind::constant;
  std::int64_t warmup = 0;    // linear from 0 over this many meta-steps
  double final_fraction = 0;  // cosine: the last rate as a fraction of the first
  std::int64_t every = 1000;  // step
  double factor = 0.1;        // step
  bool operator==(const Schedule&) const = default;
};

struct EvalConfig {
  std::int64_t every = 0;  // meta-steps between evaluations; 0: only before and after training
  // Held-out tasks of each evaluation. 0: as many, from 4 to 100, as cost a tenth of the training.
  std::int64_t tasks = 0;
  std::vector<std::int64_t> steps;  // numbers of inner steps to report; the loader: {0, T} if none
  bool operator==(const EvalConfig&) const = default;
};

struct EarlyStop {
  // Evaluations in a row without a better validation loss after which training ends; 0: never.
  std::int64_t patience = 0;
  bool operator==(const EarlyStop&) const = default;
};

struct MetaConfig {
  std::vector<MetaParameter> parameters;
  OptimizerConfig optimizer{.kind = OptimizerKind::adam, .lr = 1e-3};
  Schedule schedule;
  double clip_norm = 0;    // global norm; 0: off
  std::int64_t batch = 1;  // N tasks per meta-step
  std::int64_t steps = 1000;
  EvalConfig eval;
  EarlyStop early_stop;
  std::int64_t checkpoint_every = 1000;  // meta-steps
  double checkpoint_minutes = 5;         // likewise, after so long without one; 0: any time
  bool operator==(const MetaConfig&) const = default;
};

// --- gradient ------------------------------------------------------------------------
enum class Mode : std::uint8_t { mixed, reverse, first_order, finite_difference };

// What a block keeps for its backward pass.
enum class BlockKeep : std::uint8_t {
  by_block,  // as remat.block says: its input, or all
  inputs,
  dots,  // results of matrix products and of attention
  all,   // all that the backward pass reads
};

struct RematPolicy {
  BlockKeep gradients = BlockKeep::by_block;     // of L in each step, and of V
  BlockKeep second_order = BlockKeep::by_block;  // the derivative of the gradient (H c_g, M c_g)
  // As many of the last inner steps keep the primal pass of their gradient, so that second order
  // computes tangents alone; -1: all steps.
  std::int64_t reuse = 0;
  bool operator==(const RematPolicy&) const = default;
};

struct RematConfig {
  bool step = true;              // keep only theta_t and the optimiser state of each inner step
  bool block = true;             // a block keeps only its input
  bool save_inner_grads = true;  // keep g_t under per-step rematerialisation
  bool inline_loops = true;  // short loops over few values become straight code: no choices left
  RematPolicy policy;
  bool operator==(const RematConfig&) const = default;
};

// Rows of the blocks that are computed one after another. Those of attention and of the output
// layer are recomputed by every derivative; what feed-forward blocks keep is remat.policy's choice.
// 0: chosen from shapes (models/block_sizes.h); -1: no blocks.
struct BlockSizes {
  std::int64_t attention = 0;      // queries
  std::int64_t feed_forward = 0;   // tokens
  std::int64_t cross_entropy = 0;  // tokens of the output layer
  bool operator==(const BlockSizes&) const = default;
};

// Operating points between memory and time: what blocks keep, in gradients and where mixed mode
// differentiates them, and what steps keep. What the config says under remat.policy counts more.
// The loader turns the preset into a policy: afterwards it is `none`.
enum class Preset : std::uint8_t {
  none,
  smallest,  // blocks keep their inputs
  balanced,  // the results of products
  fastest,   // and steps keep what their gradient computed, where it is differentiated again
};

// Whether `train` compares a meta-gradient in bf16 with float32's before it starts.
enum class Bf16Check : std::uint8_t {
  automatic,  // where that is a small part of the training
  always,
  never,
};

struct GradientConfig {
  Mode mode = Mode::mixed;
  // Inner gradients are differentiated.
  bool second_order() const { return mode == Mode::mixed || mode == Mode::reverse; }
  Preset preset = Preset::none;
  RematConfig remat;
  BlockSizes blocks;
  double finite_difference_eps = 1e-5;  // relative step, central differences
  Bf16Check bf16_check = Bf16Check::automatic;
  // Tasks per map iteration (vmapped); divides meta.batch; 0: one, whose workspace stays in cache.
  // Networks of a few units gain from more (25 of width 8: a fifth), those of width 40 lose a
  // little.
  std::int64_t chunk = 0;
  bool operator==(const GradientConfig&) const = default;
};

struct Config {
  std::string name = "run";
  std::uint64_t seed = 1;
  Precision precision = Precision::f32;
  int threads = 0;  // 0: all cores
  DataConfig data;
  ModelConfig model = MlpModel{};
  InnerConfig inner;
  MetaConfig meta;
  GradientConfig gradient;

  // About the text it was read from, not part of what it says.
  std::string file;  // the name, for messages
  // Where each key was written: inner.steps -> "adam.yaml:14:7"; `origin` in load.h makes messages.
  std::map<std::string, std::string> origins;
  std::vector<std::string> warnings;  // accepted, but not recommended: for the log
};

}  // namespace mixflow
