#include "train/stage_run.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/team.h"
#include "train/inner_state.h"
#include "util/error.h"
#include "util/finite.h"
#include "util/rng.h"

namespace mixflow {
namespace {

// Elements drawn at a time: whole blocks of the generator, so that the numbers are those of one
// draw.
constexpr std::int64_t kDrawChunk = std::int64_t{1} << 16;

// Data of a meta-step below which waking the other threads costs more than they save.
constexpr std::int64_t kSharedBytes = 2048;

}  // namespace

bool outlives_meta_step(Role role) {
  return role == Role::eta || role == Role::meta_state || role == Role::inner_state;
}

std::string_view source_name(const Port& port) {
  constexpr std::string_view kPrefix = "frozen.";
  std::string_view name = port.name;
  if (port.role == Role::frozen) name.remove_prefix(kPrefix.size());
  return name;
}

std::vector<Donation> donations_of(const Stage& stage) {
  std::vector<Donation> donations;
  for (std::size_t j = 0; j < stage.outputs.size(); ++j) {
    const Port& port = stage.outputs[j];
    if (!outlives_meta_step(port.role)) continue;
    donations.push_back({.input = stage.input(port.name), .output = static_cast<int>(j)});
  }
  return donations;
}

ProgramPtr compile_stage(const Stage& stage, const PlanOptions& plan) {
  return compile(stage.graph, donations_of(stage), plan);
}

ExecutorOptions beside(const StageRun& owner, const Stage& stage) {
  ExecutorOptions options{.arena = owner.executor().arena()};
  for (const Port& port : stage.inputs) {
    const bool shared =
        port.role == Role::eta || port.role == Role::theta0 || port.role == Role::inner_state;
    options.inputs.push_back(shared ? owner.input(port.name).data() : nullptr);
  }
  return options;
}

StageRun::StageRun(const Stage& stage, const PlanOptions& plan, ExecutorOptions executor)
    : StageRun(stage, compile_stage(stage, plan), std::move(executor)) {}

StageRun::StageRun(const Stage& stage, ProgramPtr program, ExecutorOptions executor)
    : stage_(stage), executor_(std::move(program), std::move(executor)) {
  for (std::size_t i = 0; i < stage.inputs.size(); ++i) {
    const Port& port = stage.inputs[i];
    if (port.role != Role::data_inner && port.role != Role::data_outer) continue;
    std::byte* data = executor_.input(static_cast<int>(i));
    (port.role == Role::data_inner ? inner_ : outer_).push_back(data);
    data_bytes_ += port.type.bytes();
    tasks_ = port.type.shape[0];
    if (port.role == Role::data_inner) steps_ = port.type.shape[1];
  }
}

std::span<std::byte> StageRun::input(std::string_view name) const {
  const int i = stage_.input(name);
  MIXFLOW_CHECK(i >= 0, "no input " + std::string(name));
  return {executor_.input(i), static_cast<std::size_t>(executor_.input_bytes(i))};
}

void StageRun::set_scalar(std::string_view name, double value) {
  const int i = stage_.input(name);
  if (i < 0) return;
  const Type& type = stage_.inputs[static_cast<std::size_t>(i)].type;
  std::byte* data = executor_.input(i);
  if (type.dtype == DType::f64) {
    std::memcpy(data, &value, sizeof value);
  } else {
    const auto narrow = static_cast<float>(value);
    std::memcpy(data, &narrow, sizeof narrow);
  }
}

double StageRun::result(std::string_view name) const {
  const int j = stage_.output(name);
  MIXFLOW_CHECK(j >= 0, "no result " + std::string(name));
  const std::byte* data = executor_.output(j);
  if (stage_.outputs[static_cast<std::size_t>(j)].type.dtype == DType::f64) {
    double value;
    std::memcpy(&value, data, sizeof value);
    return value;
  }
  float value;
  std::memcpy(&value, data, sizeof value);
  return static_cast<double>(value);
}

std::vector<double> StageRun::results(std::string_view name) const {
  const int j = stage_.output(name);
  MIXFLOW_CHECK(j >= 0, "no result " + std::string(name));
  return to_doubles(stage_.outputs[static_cast<std::size_t>(j)].type, executor_.output(j));
}

void StageRun::copy_parameters(const StageRun& from) {
  for (std::size_t i = 0; i < stage_.inputs.size(); ++i) {
    const Port& port = stage_.inputs[i];
    if (port.role != Role::eta && port.role != Role::theta0 && port.role != Role::frozen) continue;
    const std::span<std::byte> source = from.input(source_name(port));
    MIXFLOW_CHECK(
        static_cast<std::int64_t>(source.size()) == executor_.input_bytes(static_cast<int>(i)),
        "stages disagree about the size of " + port.name);
    std::memcpy(executor_.input(static_cast<int>(i)), source.data(), source.size());
  }
}

void StageRun::fill(const TaskSource& source, Split split, std::uint64_t index,
                    Precision precision) {
  const int threads = data_bytes_ >= kSharedBytes ? executor_.program().options.threads : 1;
  share_items(threads, tasks_, [&](std::int64_t task, int) {
    source.fill_task(split, index, task, steps_, precision, inner_, outer_);
  });
}

void draw_initial_values(const Experiment& experiment, StageRun& run) {
  std::vector<double> chunk;  // not the whole tensor: it may be as large as the plan
  for (std::size_t t = 0; t < experiment.initial.size(); ++t) {
    const InitialValue& initial = experiment.initial[t];
    const int i = run.stage().input(initial.name);
    if (i < 0) continue;
    const Type& type = run.stage().inputs[static_cast<std::size_t>(i)].type;
    std::byte* data = run.executor().input(i);
    const bool random = initial.init != Init::zero && initial.deviation > 0;
    Rng rng(experiment.config.seed, Purpose::initial_values, t);
    for (std::int64_t first = 0; first < type.elements(); first += kDrawChunk) {
      chunk.resize(static_cast<std::size_t>(std::min(kDrawChunk, type.elements() - first)));
      if (random) rng.fill_normal(chunk);
      for (double& x : chunk) x = random ? initial.value + initial.deviation * x : initial.value;
      from_doubles(type, chunk, data + first * dtype_bytes(type.dtype));
    }
  }
  reset_inner_state(run);
}

std::string place_in(const Shape& shape, std::int64_t element) {
  std::string text;
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    text = std::to_string(element % shape[axis]) + (text.empty() ? "" : ", ") + text;
    element /= shape[axis];
  }
  return text.empty() ? text : "[" + text + "]";
}

std::optional<NonFinite> find_non_finite(const Type& type, std::span<const std::byte> data) {
  const auto count = static_cast<std::size_t>(type.elements());
  const auto look = [&]<class T>(T) -> std::optional<NonFinite> {
    const auto* values = reinterpret_cast<const T*>(data.data());
    const std::optional<std::size_t> at = first_non_finite(std::span(values, count));
    if (!at) return std::nullopt;
    const T value = values[*at];
    return NonFinite{place_in(type.shape, static_cast<std::int64_t>(*at)),
                     std::isnan(value) ? "nan" : (value > 0 ? "inf" : "-inf")};
  };
  if (type.dtype == DType::f32) return look(float{});
  if (type.dtype == DType::f64) return look(double{});
  return std::nullopt;
}

std::vector<double> to_doubles(const Type& type, const std::byte* data) {
  std::vector<double> values(static_cast<std::size_t>(type.elements()));
  const auto convert = [&]<class T>(T) {
    for (std::size_t e = 0; e < values.size(); ++e) {
      T value;
      std::memcpy(&value, data + e * sizeof(T), sizeof(T));
      values[e] = static_cast<double>(value);
    }
  };
  switch (type.dtype) {
    case DType::f32:
      convert(float{});
      break;
    case DType::f64:
      convert(double{});
      break;
    case DType::i32:
      convert(std::int32_t{});
      break;
  }
  return values;
}

void from_doubles(const Type& type, const std::vector<double>& values, std::byte* data) {
  const auto convert = [&]<class T>(T) {
    for (std::size_t e = 0; e < values.size(); ++e) {
      const auto value = static_cast<T>(values[e]);
      std::memcpy(data + e * sizeof(T), &value, sizeof(T));
    }
  };
  switch (type.dtype) {
    case DType::f32:
      convert(float{});
      break;
    case DType::f64:
      convert(double{});
      break;
    case DType::i32:
      convert(std::int32_t{});
      break;
  }
}

}  // namespace mixflow
