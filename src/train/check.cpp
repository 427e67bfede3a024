#include "train/check.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "config/names.h"
#include "config/preset.h"
#include "data/source.h"
#include "meta/experiment.h"
#include "meta/unroll.h"
#include "train/baseline.h"
#include "train/memory_check.h"
#include "train/stage_run.h"
#include "train/tensors.h"
#include "train/threads.h"
#include "util/rng.h"

namespace mixflow {
namespace {

constexpr const char* kDifferences = "mixed, central differences";
constexpr double kExactTolerance = 1e-10;
constexpr double kDifferenceTolerance = 1e-6;
constexpr double kFastTolerance = 1e-4;
// Of 1 - cosine, for tensors that are not negligible beside the others of their kind.
constexpr double kBf16Tolerance = 1e-3;

// The worst error so far, and whose; NaN is worse than any number.
void note(CheckLine& line, double error, const std::string& name) {
  if (std::isnan(line.error) || error <= line.error) return;
  line.error = error;
  line.worst = name;
}

struct Gradient {
  Tensors tensors;
  double loss = 0;                  // mean outer loss
  std::vector<double> loss_slopes;  // by tensor: the gradient with which its own size would move
                                    // the loss by all of it
};

// |a - b| / |b| per tensor, the worst, where a and b may differ by the rounding of arithmetic with
// this epsilon. A tensor whose gradient is nothing but rounding is measured against what it is
// rounding of: four units in the last place pass, of the gradient of its kind, and of the gradient
// that would move the loss by all of it. The latter is what is left to compare with where a
// derivative is 0 because terms cancel, as that of Adam's beta1 in the first step.
CheckLine compare(std::string what, const Tensors& a, const Gradient& exact, double tolerance,
                  double epsilon, const std::vector<Port>& eta) {
  CheckLine line{.what = std::move(what), .tolerance = tolerance};
  const Tensors& b = exact.tensors;
  const std::vector<double> kind_norm = kind_norms(b, eta);
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::vector<double> difference(a[i].size());
    for (std::size_t e = 0; e < difference.size(); ++e) difference[e] = a[i][e] - b[i][e];
    const double floor = 4 * epsilon / tolerance * std::max(kind_norm[i], exact.loss_slopes[i]);
    const double scale = std::max({norm(b[i]), floor, 1e-8 * norm(b)});
    note(line, scale > 0 ? norm(difference) / scale : norm(difference), eta[i].name);
  }
  return line;
}

// Point at which all gradients are taken: the fast path's own inputs, so that float64 sees the same
// numbers.
class Point {
 public:
  Point(const Config& config, const TaskSource& source)
      : experiment_(build_experiment(config, source, DType::f32, {.grad = true})),
        run_(experiment_.grad, fitting(experiment_.grad, {.threads = 1}, config), {}) {
    draw_initial_values(experiment_, run_);
    run_.fill(source, Split::train, 1, Precision::f32);
    for (std::size_t t = 0; t < experiment_.initial.size(); ++t) {
      const InitialValue& initial = experiment_.initial[t];
      if (initial.deviation > 0 || initial.value != 0 || !is_weight(initial.name)) continue;
      const std::span<std::byte> data = run_.input(initial.name);
      Rng rng(config.seed, Purpose::check, t, 1);
      std::vector<double> values(data.size() / sizeof(float));
      rng.fill_normal(values);
      for (double& value : values) value *= 0.01;
      const int i = run_.stage().input(initial.name);
      from_doubles(run_.stage().inputs[static_cast<std::size_t>(i)].type, values, data.data());
    }
  }

  void give(StageRun& to) const {
    for (const Port& port : to.stage().inputs) {
      const int i = run_.stage().input(source_name(port));
      const Type& type = run_.stage().inputs[static_cast<std::size_t>(i)].type;
      from_doubles(port.type, to_doubles(type, run_.input(source_name(port)).data()),
                   to.input(port.name).data());
    }
  }

 private:
  static bool is_weight(std::string_view name) {
    return name.starts_with("theta.") || name.starts_with("eta.init.");
  }

  const Experiment experiment_;
  StageRun run_;
};

// How far a tensor of meta-parameters may move before it means something else: its size where that
// is below 1, as a rate's is, and of a decay that is learned as it is what it leaves, 1 - beta, by
// which Adam divides. Of many entries, their root mean square.
double size_of(const Config& config, const Port& port, const std::vector<double>& values) {
  double size = norm(values) / std::sqrt(static_cast<double>(values.size()));
  for (const MetaParameter& parameter : config.meta.parameters) {
    const bool decay = parameter.kind == MetaKind::momentum || parameter.kind == MetaKind::beta1 ||
                       parameter.kind == MetaKind::beta2;
    const std::string name = "eta." + std::string(name_of(parameter.kind));
    if (!decay || parameter.transform != Transform::identity || kind_of(port.name) != name)
      continue;
    for (const double beta : values) {
      if (beta < 1) size = std::min(size, 1 - beta);
    }
  }
  return size > 0 ? std::min(size, 1.0) : 1.0;
}

Gradient gradient(const Config& config, const TaskSource& source, const Point& point, DType dtype,
                  int threads) {
  const Experiment experiment = build_experiment(config, source, dtype, {.grad = true});
  StageRun run(experiment.grad, fitting(experiment.grad, plan_options(config, threads), config),
               {});
  point.give(run);
  run.run();
  Gradient result;
  for (const Port& port : experiment.eta)
    result.tensors.push_back(run.results(meta_grad_name(port.name)));
  const std::vector<double> losses = run.results("outer_loss");
  for (const double loss : losses) result.loss += loss / static_cast<double>(losses.size());
  for (const Port& port : experiment.eta) {
    const std::vector<double> values = to_doubles(port.type, run.input(port.name).data());
    result.loss_slopes.push_back(std::abs(result.loss) / size_of(config, port, values));
  }
  return result;
}

// Steps of the differences, from large to small, relative to an entry's size. Large ones are wrong
// by curvature, and by kinks of the inner gradient, across which the objective jumps; small ones by
// rounding.
constexpr std::array<double, 7> kSteps = {1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8};

// Units in the last place by which the rounding of a loss may be off: many products go into one.
constexpr double kLossRounding = 32;

// The mean over tasks of the derivatives that the tasks' losses have along a line; losses(h) are
// all tasks' at distance h. Each task takes the step whose difference is nearest to the next
// smaller step's, as far as the rounding of the losses tells them apart: tasks meet their kinks at
// different distances, and the choice never sees the gradient that the result is compared with.
// `noise`: how far the chosen differences are from their neighbours, and what rounding may do to
// them, beyond which they are not exact. Where the derivative is 0 noise is all there is.
struct DirectionalDerivative {
  double value = 0, noise = 0;
};

template <class Losses>
DirectionalDerivative directional_derivative(double scale, const Losses& losses) {
  std::vector<std::vector<double>> differences, roundings;  // by step, then by task
  for (const double eps : kSteps) {
    // Fourth order: (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h.
    const double h = eps * scale;
    std::vector<double> difference = losses(h), rounding;
    const std::vector<double> below = losses(-h), far = losses(2 * h), far_below = losses(-2 * h);
    for (std::size_t n = 0; n < difference.size(); ++n) {
      rounding.push_back(kLossRounding * std::numeric_limits<double>::epsilon() *
                         std::abs(difference[n]) / h);
      difference[n] = (8 * (difference[n] - below[n]) - (far[n] - far_below[n])) / (12 * h);
    }
    differences.push_back(std::move(difference));
    roundings.push_back(std::move(rounding));
  }
  DirectionalDerivative mean;
  const std::size_t tasks = differences[0].size();
  for (std::size_t n = 0; n < tasks; ++n) {
    std::size_t best = 0;
    const auto doubt = [&](std::size_t k) {
      return std::abs(differences[k][n] - differences[k + 1][n]) + roundings[k][n];
    };
    for (std::size_t k = 1; k + 1 < differences.size(); ++k) {
      if (doubt(k) < doubt(best)) best = k;
    }
    mean.value += differences[best][n] / static_cast<double>(tasks);
    mean.noise += doubt(best) / static_cast<double>(tasks);
  }
  return mean;
}

// Directional derivatives of the objective against the gradient's. The error is relative to the
// largest derivative that a direction of that length could have.
CheckLine differences(const Config& config, const TaskSource& source, const Point& point,
                      const Tensors& exact) {
  const Experiment experiment = build_experiment(config, source, DType::f64, {.objective = true});
  StageRun run(experiment.objective, fitting(experiment.objective, {.threads = 1}, config), {});
  point.give(run);
  CheckLine line{.what = kDifferences, .tolerance = kDifferenceTolerance};
  // One random direction per tensor (its own entries only), so that every tensor is seen.
  for (std::size_t i = 0; i < experiment.eta.size(); ++i) {
    const Port& port = experiment.eta[i];
    const std::vector<double> base = to_doubles(port.type, run.input(port.name).data());
    std::vector<double> direction(base.size());
    Rng rng(config.seed, Purpose::check, i);
    rng.fill_normal(direction);
    const double length = norm(direction);
    double derivative = 0;
    for (std::size_t e = 0; e < direction.size(); ++e) {
      direction[e] /= length;
      derivative += direction[e] * exact[i][e];
    }
    const double entries = std::sqrt(static_cast<double>(base.size()));
    const DirectionalDerivative measured =
        directional_derivative(std::max(1.0, norm(base) / entries), [&](double by) {
          std::vector<double> values = base;
          for (std::size_t e = 0; e < values.size(); ++e) values[e] += by * direction[e];
          from_doubles(port.type, values, run.input(port.name).data());
          run.run();
          return run.results("outer_loss");
        });
    from_doubles(port.type, base, run.input(port.name).data());
    const double scale = std::max(norm(exact[i]) / entries, 1e-6 * norm(exact));
    const double gap = std::abs(measured.value - derivative);
    const double relative = 1 / (scale > 0 ? scale : 1);
    // What the differences cannot tell apart passes, and is shown as far as it does.
    const double error = gap <= measured.noise ? std::min(gap * relative, line.tolerance)
                                               : (gap - measured.noise) * relative;
    note(line, error, port.name);
  }
  return line;
}

std::vector<Bf16Error> bf16_errors(const Tensors& a, const Tensors& b,
                                   const std::vector<Port>& eta) {
  const std::vector<double> kind_norm = kind_norms(b, eta);
  std::vector<Bf16Error> errors;
  for (std::size_t i = 0; i < a.size(); ++i) {
    double product = 0, difference = 0;
    for (std::size_t e = 0; e < a[i].size(); ++e) {
      product += a[i][e] * b[i][e];
      difference += (a[i][e] - b[i][e]) * (a[i][e] - b[i][e]);
    }
    const double scale = norm(b[i]);
    const bool both_zero = scale == 0 && norm(a[i]) == 0;
    errors.push_back({.tensor = eta[i].name,
                      .cosine = both_zero ? 1 : product / (norm(a[i]) * scale),
                      .relative = both_zero ? 0 : std::sqrt(difference) / scale,
                      .share = both_zero ? 0 : scale / kind_norm[i]});
  }
  return errors;
}

CheckLine worst_of(const std::vector<Bf16Error>& errors) {
  CheckLine line{.what = "mixed, bf16: 1 - cosine", .tolerance = kBf16Tolerance};
  for (const Bf16Error& error : errors) {
    // NaN and a gradient where there should be none are never negligible.
    if (!(error.share < kNegligible) || std::isnan(error.cosine))
      note(line, 1 - error.cosine, error.tensor);
  }
  return line;
}

bool has_blocks(const Config& config) {
  return std::holds_alternative<TransformerModel>(config.model);
}

bool same_graph(const Config& a, const Config& b) {
  const RematConfig &in_a = a.gradient.remat, &in_b = b.gradient.remat;
  const std::int64_t reused = reused_steps(a);
  if (a.gradient.mode != b.gradient.mode || reused != reused_steps(b)) return false;
  const bool all_reused = reused == a.inner.differentiated_steps();
  if (!all_reused && step_policy(in_a, false) != step_policy(in_b, false)) return false;
  return !has_blocks(a) || (in_a.block == in_b.block && a.gradient.blocks == b.gradient.blocks &&
                            in_a.policy.gradients == in_b.policy.gradients &&
                            in_a.policy.second_order == in_b.policy.second_order);
}

// One config per exact mode and remat choice that gives a graph of its own: steps that keep
// everything keep the inner gradients too, and what concerns blocks changes nothing without them.
std::vector<Config> exact_variants(const Config& config) {
  const bool blocks = has_blocks(config);
  std::vector<Config> variants;
  const auto add = [&](Mode mode, RematConfig remat, BlockSizes sizes) {
    Config variant = config;
    variant.gradient.mode = mode;
    variant.gradient.remat = remat;
    variant.gradient.remat.inline_loops = false;  // which would leave little to compare
    variant.gradient.blocks = sizes;
    const auto same = [&](const Config& other) { return same_graph(variant, other); };
    if (std::ranges::none_of(variants, same)) variants.push_back(std::move(variant));
  };
  for (const Mode mode : {Mode::mixed, Mode::reverse}) {
    for (const auto& [step, save] :
         {std::pair{true, true}, std::pair{true, false}, std::pair{false, true}}) {
      for (const bool block : {true, false}) {
        if (!blocks && block != config.gradient.remat.block) continue;
        add(mode, {.step = step, .block = block, .save_inner_grads = save}, config.gradient.blocks);
      }
    }
  }
  const RematConfig remat = config.gradient.remat;
  for (const Mode mode : {Mode::mixed, Mode::reverse}) {
    for (const std::int64_t reuse : {-1, 1}) {
      RematConfig reused;
      reused.policy.reuse = reuse;
      if (blocks) reused.policy.gradients = reused.policy.second_order = BlockKeep::dots;
      add(mode, reused, config.gradient.blocks);
    }
  }
  if (!blocks) return variants;
  for (const Mode mode : {Mode::mixed, Mode::reverse}) {
    // What second order keeps is no question where gradients are lowered first.
    for (const RematPolicy policy : {RematPolicy{BlockKeep::dots, BlockKeep::dots},
                                     RematPolicy{BlockKeep::dots, BlockKeep::inputs},
                                     RematPolicy{BlockKeep::inputs, BlockKeep::dots}}) {
      if (mode == Mode::reverse && policy.gradients != policy.second_order) continue;
      RematConfig kept = remat;
      kept.policy = policy;
      add(mode, kept, config.gradient.blocks);
    }
    for (const BlockSizes sizes :
         {BlockSizes{.attention = -1, .feed_forward = -1, .cross_entropy = -1},
          BlockSizes{.attention = 12, .feed_forward = 16, .cross_entropy = 20}}) {
      add(mode, remat, sizes);
    }
  }
  return variants;
}

std::string describe(const GradientConfig& gradient, const GradientConfig& base, bool with_blocks) {
  const auto on_off = [](bool on) { return std::string(on ? "on" : "off"); };
  const RematConfig& remat = gradient.remat;
  std::string what = std::string(name_of(gradient.mode)) + ", remat.step " + on_off(remat.step);
  if (with_blocks && remat.policy == RematPolicy{}) what += ", block " + on_off(remat.block);
  if (with_blocks && remat.policy != RematPolicy{}) {
    what += ", keep " + std::string(name_of(remat.policy.gradients)) + " and " +
            std::string(name_of(remat.policy.second_order));
  }
  if (remat.policy.reuse != 0) {
    what += ", reuse";
    if (remat.policy.reuse > 0) what += " " + std::to_string(remat.policy.reuse);
  } else if (remat.step) {
    what += ", save_inner_grads " + on_off(remat.save_inner_grads);
  }
  if (gradient.blocks != base.blocks) {
    what += gradient.blocks.attention < 0
                ? ", no blocks"
                : ", blocks of " + std::to_string(gradient.blocks.attention) + ", " +
                      std::to_string(gradient.blocks.feed_forward) + " and " +
                      std::to_string(gradient.blocks.cross_entropy);
  }
  return what;
}

}  // namespace

bool CheckReport::ok() const {
  return std::all_of(lines.begin(), lines.end(), [](const CheckLine& line) { return line.ok(); });
}

CheckReport check(const Config& config) {
  const int threads = start_threads(config.threads);
  const std::unique_ptr<TaskSource> source = make_source(config);
  const Point point(config, *source);
  CheckReport report;
  Config mixed = config;
  mixed.gradient.mode = Mode::mixed;
  const Gradient exact = gradient(mixed, *source, point, DType::f64, threads);
  const std::vector<Port> eta = build_experiment(mixed, *source, DType::f64, {}).eta;
  for (const Config& variant : exact_variants(config)) {
    if (same_graph(variant, mixed)) continue;
    report.lines.push_back(compare(describe(variant.gradient, config.gradient, has_blocks(config)),
                                   gradient(variant, *source, point, DType::f64, threads).tensors,
                                   exact, kExactTolerance, std::numeric_limits<double>::epsilon(),
                                   eta));
  }
  if (config.inner.optimizer.stop_denominator) {
    report.left_out.push_back(
        {kDifferences,
         "they move the denominators, which inner.optimizer.stop_denominator holds constant"});
  } else {
    report.lines.push_back(differences(mixed, *source, point, exact.tensors));
  }
  mixed.precision = Precision::f32;
  const Gradient fast = gradient(mixed, *source, point, DType::f32, threads);
  report.lines.push_back(compare("mixed, fast f32 path", fast.tensors, exact, kFastTolerance,
                                 std::numeric_limits<float>::epsilon(), eta));
  if (config.precision != Precision::bf16) return report;
  mixed.precision = Precision::bf16;
  const Gradient rounded = gradient(mixed, *source, point, DType::f32, threads);
  report.bf16 = bf16_errors(rounded.tensors, exact.tensors, eta);
  report.lines.push_back(worst_of(report.bf16));
  return report;
}

std::string to_json(const CheckReport& report) {
  nlohmann::ordered_json lines = nlohmann::ordered_json::array();
  for (const CheckLine& line : report.lines) {
    lines.push_back({{"what", line.what},
                     {"error", line.error},
                     {"tolerance", line.tolerance},
                     {"worst", line.worst},
                     {"ok", line.ok()}});
  }
  nlohmann::ordered_json json = {{"ok", report.ok()}, {"checks", std::move(lines)}};
  for (const LeftOut& comparison : report.left_out)
    json["left_out"].push_back({{"what", comparison.what}, {"why", comparison.why}});
  for (const Bf16Error& error : report.bf16) {
    json["bf16"].push_back({{"tensor", error.tensor},
                            {"cosine", error.cosine},
                            {"relative_error", error.relative},
                            {"share", error.share}});
  }
  return json.dump(2);
}

std::string to_text(const CheckReport& report) {
  std::string text = "Relative difference of the meta-gradient from mixed mode in float64\n";
  for (const CheckLine& line : report.lines) {
    char row[256];
    std::snprintf(row, sizeof row, "  %-4s %-56s %9.2e  (<= %.0e)  %s\n", line.ok() ? "ok" : "FAIL",
                  line.what.c_str(), line.error, line.tolerance, line.worst.c_str());
    text += row;
  }
  for (const LeftOut& comparison : report.left_out)
    text += "  --   " + comparison.what + ": left out, " + comparison.why + "\n";
  if (report.bf16.empty()) return text;
  text += "Meta-gradient in bf16 against float64; share: of the norm of its kind, tensors below ";
  text += std::to_string(static_cast<int>(100 * kNegligible)) + " % do not count\n";
  text += "      cosine  relative error   share\n";
  for (const Bf16Error& error : report.bf16) {
    char row[256];
    std::snprintf(row, sizeof row, "  %10.6f  %14.2e  %5.1f %%  %s\n", error.cosine, error.relative,
                  100 * error.share, error.tensor.c_str());
    text += row;
  }
  return text;
}

}  // namespace mixflow
