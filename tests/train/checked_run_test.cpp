// Every shipped config, shrunk, and tiny transformers in every mode, through the executor that
// poisons freed memory and guards what is read-only. In f64 its bits must be those of the
// reference, which gives every value a buffer of its own and runs one node at a time; in f32 those
// of a plan that shares no memory.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>

#include "configs.h"
#include "ops/reference.h"

using namespace mixflow;

namespace {

using OutputBytes = std::vector<std::vector<std::byte>>;

// Stand-ins for the files that scripts fetch: the same shapes, fewer rows.
struct StandIns : TemporaryDirectory {
  StandIns() {
    write_rows(*this / "digits_x.npy", 120, 64);
    write_labels(*this / "digits_y.npy", cyclic_labels(120, 10));
    write_rows(*this / "points_x.npy", 40, 20);
    write_labels(*this / "points_y.npy", cyclic_labels(40, 2));
  }
};

std::vector<std::filesystem::path> shipped_configs() {
  std::vector<std::filesystem::path> paths;
  const auto root = std::filesystem::path(MIXFLOW_SOURCE_DIR) / "configs";
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    const bool sweep = entry.path().parent_path().filename() == "sweeps";
    if (entry.path().extension() == ".yaml" && !sweep) paths.push_back(entry.path());
  }
  std::ranges::sort(paths);
  return paths;
}

Config shrunk(const std::filesystem::path& path, const StandIns& data, const Settings& settings) {
  const Config whole = load_config(path.string());
  Settings all = {"meta.batch=" + std::to_string(std::min<std::int64_t>(whole.meta.batch, 3)),
                  "gradient.chunk=0"};
  const std::int64_t steps = std::min<std::int64_t>(whole.inner.steps, 4);
  all.push_back("inner.steps=" + std::to_string(steps));
  if (whole.inner.window > steps) all.push_back("inner.window=2");
  std::string eval;
  for (const std::int64_t point : whole.meta.eval.steps)
    if (point <= 5) eval += (eval.empty() ? "" : ", ") + std::to_string(point);
  all.push_back("meta.eval={tasks: 2, steps: [" + eval + "]}");
  if (const auto* tabular = std::get_if<TabularData>(&whole.data.source)) {
    const std::string base = data / (whole.inner.loss == Loss::bce ? "points" : "digits");
    all.insert(all.end(), {"data.x=" + base + "_x.npy", "data.y=" + base + "_y.npy"});
    if (tabular->batch > 0) all.push_back("data.batch=8");
    all.push_back("data.outer_batch=8");
  } else if (std::holds_alternative<TokensData>(whole.data.source)) {
    all.insert(all.end(), {"data.sequence=5", "data.batch=2"});
  } else if (std::holds_alternative<EpisodesData>(whole.data.source)) {
    all.insert(all.end(),
               {"data.x=" + (data / "digits_x.npy"), "data.y=" + (data / "digits_y.npy")});
  }
  all.insert(all.end(), settings.begin(), settings.end());
  return load_config(path.string(), all);
}

std::vector<Tensor64> inputs_of(const StageRun& run) {
  std::vector<Tensor64> inputs;
  for (const Port& port : run.stage().inputs)
    inputs.push_back(to_doubles(port.type, run.input(port.name).data()));
  return inputs;
}

OutputBytes outputs_of(const StageRun& run) {
  OutputBytes outputs;
  for (std::size_t k = 0; k < run.stage().outputs.size(); ++k) {
    const std::byte* data = run.executor().output(static_cast<int>(k));
    outputs.emplace_back(data, data + run.executor().output_bytes(static_cast<int>(k)));
  }
  return outputs;
}

// Where two sets of outputs first differ in their bits; empty if nowhere.
std::string difference(const Stage& stage, const OutputBytes& a, const OutputBytes& b) {
  for (std::size_t k = 0; k < stage.outputs.size(); ++k)
    if (a[k] != b[k]) return stage.outputs[k].name;
  return "";
}

OutputBytes reference_outputs(const StageRun& run, const std::vector<Tensor64>& inputs) {
  const Graph& graph = *run.program().graph;
  OutputBytes outputs;
  const std::vector<Tensor64> values = evaluate(graph, inputs);
  for (std::size_t k = 0; k < values.size(); ++k) {
    const Type& type = graph.type(graph.outputs[k]);
    outputs.emplace_back(static_cast<std::size_t>(type.bytes()));
    from_doubles(type, values[k], outputs.back().data());
  }
  return outputs;
}

void check_against_reference(const Built& built, const Stage& stage) {
  StageRun run(stage, {.poison = true}, {.checked = true});
  draw_initial_values(built.experiment, run);
  for (std::int64_t t = 1; t <= 2; ++t) {
    give_step(built, run, t);
    const std::vector<Tensor64> inputs = inputs_of(run);
    run.run();
    CHECK(difference(stage, outputs_of(run), reference_outputs(run, inputs)) == "");
    CHECK(run.executor().arena_peak_bytes() == run.program().dynamic_bytes);
  }
}

void check_shared_against_apart(const Built& built, const Stage& stage) {
  StageRun shared(stage, {.poison = true}, {.checked = true});
  StageRun apart(stage, {.share = false});
  for (StageRun* run : {&shared, &apart}) draw_initial_values(built.experiment, *run);
  for (std::int64_t t = 1; t <= 3; ++t) {
    for (StageRun* run : {&shared, &apart}) {
      give_step(built, *run, t);
      run->run();
    }
    CHECK(difference(stage, outputs_of(shared), outputs_of(apart)) == "");
  }
  CHECK(shared.program().dynamic_bytes <= apart.program().dynamic_bytes);
}

}  // namespace

TEST_CASE("checked runs of every shipped config give the reference's bits in f64") {
  const StandIns data;
  for (const auto& path : shipped_configs()) {
    CAPTURE(path);
    for (const std::string mode : {"mixed", "reverse"}) {
      if (!kThorough && mode == "reverse" && path != shipped_configs().front()) continue;
      CAPTURE(mode);
      const Built built(shrunk(path, data, {"precision=f64", "gradient.mode=" + mode}));
      check_against_reference(built, built.experiment.train);
      if (mode == "mixed") check_against_reference(built, built.experiment.eval);
    }
  }
}

TEST_CASE("runs of every shipped config give the same bits with shared memory as without in f32") {
  const StandIns data;
  for (const auto& path : shipped_configs()) {
    CAPTURE(path);
    for (const std::string mode : {"mixed", "reverse"}) {
      if (!kThorough && mode == "reverse" && path != shipped_configs().front()) continue;
      CAPTURE(mode);
      const Built built(shrunk(path, data, {"precision=f32", "gradient.mode=" + mode}));
      check_shared_against_apart(built, built.experiment.train);
      if (mode == "mixed") check_shared_against_apart(built, built.experiment.eval);
    }
  }
}

TEST_CASE(
    "checked runs that carry the inner state give the reference's bits, and without shared memory "
    "the same") {
  for (const std::string kind : {"sgd", "momentum", "adam"}) {
    for (const std::string layout : {"{chunk: 1}", "{chunk: 5}", "{chunk: 1, mode: reverse}"}) {
      CAPTURE(kind);
      CAPTURE(layout);
      const auto built = [&](const std::string& precision, const std::string& batch) {
        return Built(small_config(
            {"inner.optimizer.kind=" + kind, "inner.steps=2", "inner.reset_every=2",
             "gradient=" + layout, "precision=" + precision, "meta.batch=" + batch,
             "meta.parameters=[{kind: lr, granularity: per_parameter, transform: exp}]"}));
      };
      for (const std::string batch : {"1", "5"}) {
        if (batch == "1" && layout == "{chunk: 5}") continue;
        const Built f64 = built("f64", batch);
        check_against_reference(f64, f64.experiment.train);
      }
      const Built f32 = built("f32", "5");
      check_shared_against_apart(f32, f32.experiment.train);
      check_shared_against_apart(f32, f32.experiment.state_eval);
    }
  }
}

TEST_CASE("checked runs of transformers give the reference's bits in f64") {
  for (Settings settings : transformer_choices()) {
    settings.push_back("precision=f64");
    CAPTURE(settings);
    const Built built(transformer_config(settings));
    check_against_reference(built, built.experiment.train);
  }
}

TEST_CASE("runs of transformers give the same bits with shared memory as without in f32") {
  for (const Settings& settings : transformer_choices()) {
    CAPTURE(settings);
    const Built built(transformer_config(settings));
    check_shared_against_apart(built, built.experiment.train);
  }
}

TEST_CASE("transformers with every kind of meta-parameter at once pass the same checks") {
  for (const std::string chunk : {"1", "2"}) {
    CAPTURE(chunk);
    Settings settings = {"meta.parameters=[{kind: init}, " + kRatesPerWeight + ", " + kScorer + "]",
                         "inner.optimizer.kind=adam", "inner.steps=3", "gradient.chunk=" + chunk};
    const Built fast(transformer_config(settings));
    settings.push_back("precision=f64");
    const Built exact(transformer_config(settings));
    for (const auto stage : {&Experiment::train, &Experiment::eval}) {
      check_against_reference(exact, exact.experiment.*stage);
      check_shared_against_apart(fast, fast.experiment.*stage);
    }
  }
}
