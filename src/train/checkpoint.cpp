#include "train/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

#include "data/safetensors.h"
#include "train/loss_window.h"
#include "util/error.h"
#include "util/text.h"

namespace mixflow {
namespace {

constexpr const char* kFormat = "mixflow-checkpoint-2";

std::filesystem::path file_of(const std::filesystem::path& directory, std::int64_t step) {
  char name[64];
  std::snprintf(name, sizeof name, "step-%010lld.safetensors", static_cast<long long>(step));
  return directory / name;
}

std::string exact(double value) {
  char text[64];
  const auto end = std::to_chars(text, text + sizeof text, value);
  return {text, end.ptr};
}

constexpr const char* kRecentLosses = "recent_losses";
constexpr const char* kWayOut = "; delete it to resume from the one before";

[[noreturn]] void damaged(const std::string& path, const std::string& what) {
  throw UserError(path + ": the checkpoint is damaged: " + what + kWayOut);
}

template <class T>
T number(const TensorFile& file, const std::string& path, const char* key, T least) {
  T value{};
  const auto found = file.metadata.find(key);
  if (found == file.metadata.end()) damaged(path, std::string("it has no \"") + key + "\"");
  const std::string& text = found->second;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !(value >= least))
    damaged(path, std::string("\"") + key + "\" is " + in_quotes(text));
  return value;
}

TensorFile read_checkpoint(const std::filesystem::path& path) {
  TensorFile file;
  try {
    file = read_safetensors(path);
  } catch (const UserError& error) {
    throw UserError(std::string(error.what()) + kWayOut);
  }
  const auto format = file.metadata.find("format");
  if (format == file.metadata.end() || format->second != kFormat) {
    throw UserError(path.string() + ": expected a checkpoint of the format " + kFormat +
                    ", found " +
                    (format == file.metadata.end() ? "other tensors"
                                                   : "the format " + in_quotes(format->second)) +
                    kWayOut);
  }
  return file;
}

std::vector<double> recent_losses(const TensorFile& file, const std::string& path) {
  const NamedTensor* tensor = file.find(kRecentLosses);
  if (!tensor || tensor->type != StoredType::f64 || tensor->shape.size() != 1 ||
      tensor->shape[0] > static_cast<std::int64_t>(LossWindow::kSize)) {
    damaged(path, std::string("it has no valid \"") + kRecentLosses + "\"");
  }
  std::vector<double> losses(tensor->data.size() / sizeof(double));
  std::ranges::copy(tensor->data,
                    reinterpret_cast<std::byte*>(losses.data()));  // none before the first step
  return losses;
}

// Steps that have a checkpoint, newest first.
std::vector<std::int64_t> saved_steps(const std::filesystem::path& directory) {
  std::vector<std::int64_t> steps;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename().string();
    long long step = 0;
    if (std::sscanf(name.c_str(), "step-%lld.safetensors", &step) == 1 &&
        entry.path() == file_of(directory, step)) {
      steps.push_back(step);
    }
  }
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

bool is_state(const Port& port) { return outlives_meta_step(port.role); }

}  // namespace

void save_checkpoint(const std::filesystem::path& directory, const CheckpointState& state,
                     const StageRun& run, std::size_t keep) {
  const std::map<std::string, std::string> metadata = {
      {"format", kFormat},
      {"step", std::to_string(state.step)},
      {"wall_s", exact(state.wall_s)},
      {"threads", std::to_string(state.threads)},
      {"metrics_bytes", std::to_string(state.metrics_bytes)},
      {"eval_bytes", std::to_string(state.eval_bytes)},
      {"events_bytes", std::to_string(state.events_bytes)},
      {"first_loss", exact(state.first_loss)},
  };
  std::vector<TensorView> tensors;
  tensors.push_back({.name = kRecentLosses,
                     .type = StoredType::f64,
                     .shape = {static_cast<std::int64_t>(state.recent_losses.size())},
                     .data = std::as_bytes(std::span(state.recent_losses))});
  for (const Port& port : run.stage().inputs) {
    if (!is_state(port)) continue;
    tensors.push_back({.name = port.name,
                       .type = stored_type(port.type.dtype),
                       .shape = port.type.shape,
                       .data = run.input(port.name)});
  }
  write_safetensors(file_of(directory, state.step), tensors, metadata);
  const std::vector<std::int64_t> steps = saved_steps(directory);
  for (std::size_t i = keep; i < steps.size(); ++i) {
    std::error_code ignored;  // a checkpoint too many does no harm
    std::filesystem::remove(file_of(directory, steps[i]), ignored);
  }
}

std::optional<CheckpointState> load_checkpoint(const std::filesystem::path& directory,
                                               StageRun& run) {
  const std::vector<std::int64_t> steps = saved_steps(directory);
  if (steps.empty()) return std::nullopt;
  const std::string path = file_of(directory, steps[0]).string();
  const TensorFile file = read_checkpoint(path);
  CheckpointState state;
  state.step = number<std::int64_t>(file, path, "step", 1);
  if (state.step != steps[0]) damaged(path, "it holds meta-step " + std::to_string(state.step));
  state.wall_s = number<double>(file, path, "wall_s", 0);
  state.threads = number<int>(file, path, "threads", 1);
  state.metrics_bytes = number<std::int64_t>(file, path, "metrics_bytes", 0);
  state.eval_bytes = number<std::int64_t>(file, path, "eval_bytes", 0);
  state.events_bytes = number<std::int64_t>(file, path, "events_bytes", 0);
  state.first_loss = number<double>(file, path, "first_loss", -std::numeric_limits<double>::max());
  state.recent_losses = recent_losses(file, path);
  for (const Port& port : run.stage().inputs) {
    if (!is_state(port)) continue;
    const NamedTensor* tensor = file.find(port.name);
    if (!tensor || tensor->shape != port.type.shape ||
        tensor->type != stored_type(port.type.dtype)) {
      throw UserError(
          path + ": expected tensor " + port.name + " " + to_string(port.type) +
          (tensor ? ", got " + std::string(stored_name(tensor->type)) + to_string(tensor->shape)
                  : ", which is missing") +
          ": the checkpoint belongs to another experiment");
    }
  }
  for (const Port& port : run.stage().inputs) {
    if (!is_state(port)) continue;
    const std::span<std::byte> to = run.input(port.name);
    std::memcpy(to.data(), file.find(port.name)->data.data(), to.size());
  }
  return state;
}

}  // namespace mixflow
