#include "train/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "data/safetensors.h"
#include "train/loss_window.h"
#include "util/error.h"
#include "util/file.h"
#include "util/text.h"

namespace mixflow {
namespace {

constexpr std::string_view kFormatLead = "mixflow-checkpoint-";
constexpr const char* kFormat = "mixflow-checkpoint-3";

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

// What deleting the checkpoint leads to.
std::string way_out(const std::filesystem::path& path) {
  std::vector<std::int64_t> steps = saved_steps(path.parent_path());
  std::erase_if(steps,
                [&](std::int64_t step) { return file_of(path.parent_path(), step) == path; });
  return "; delete it to resume from " +
         (steps.empty() ? std::string("the beginning of the run, as it is the only one")
                        : "the one before, of meta-step " + std::to_string(steps[0]));
}

[[noreturn]] void damaged(const std::filesystem::path& path, const std::string& what) {
  throw UserError(path.string() + ": the checkpoint is damaged: " + what + way_out(path));
}

template <class T>
T number(const TensorFile& file, const std::filesystem::path& path, const std::string& key,
         T least) {
  T value{};
  const auto found = file.metadata.find(key);
  if (found == file.metadata.end()) damaged(path, "it has no \"" + key + "\"");
  const std::string& text = found->second;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !(value >= least))
    damaged(path, "\"" + key + "\" is " + in_quotes(text));
  return value;
}

FileMark mark(const TensorFile& file, const std::filesystem::path& path, const std::string& name) {
  const auto hash = file.metadata.find(name + "_hash");
  if (hash == file.metadata.end()) damaged(path, "it has no \"" + name + "_hash\"");
  return {number<std::int64_t>(file, path, name + "_bytes", 0), hash->second};
}

void add_mark(std::map<std::string, std::string>& metadata, const std::string& name,
              const FileMark& mark) {
  metadata[name + "_bytes"] = std::to_string(mark.bytes);
  metadata[name + "_hash"] = mark.hash;
}

TensorFile read_checkpoint(const std::filesystem::path& path) {
  const std::vector<std::byte> bytes = read_file(path);
  TensorFile file;
  try {
    file = parse_safetensors(bytes, path.string());
  } catch (const UserError& error) {
    throw UserError(std::string(error.what()) + way_out(path));
  }
  const bool whole = is_whole(bytes);
  if (file.metadata.contains("checksum") && !whole)
    damaged(path, "its checksum does not fit its content");
  const auto format = file.metadata.find("format");
  const std::string found = format == file.metadata.end() ? "" : format->second;
  if (found != kFormat) {
    const bool other_version = found.starts_with(kFormatLead);
    throw UserError(
        path.string() + ": expected a checkpoint of the format " + kFormat + ", found " +
        (found.empty() ? "other tensors" : "the format " + in_quotes(found)) +
        (other_version ? ": another version of mixflow began this run: continue it with that one, "
                         "or start anew with another --out"
                       : way_out(path)));
  }
  if (!whole) damaged(path, "it has no checksum");
  return file;
}

std::vector<double> recent_losses(const TensorFile& file, const std::filesystem::path& path) {
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

bool is_state(const Port& port) { return outlives_meta_step(port.role); }

}  // namespace

void save_checkpoint(const std::filesystem::path& directory, const CheckpointState& state,
                     const StageRun& run, std::size_t keep) {
  std::map<std::string, std::string> metadata = to_metadata(state.identity);
  metadata["format"] = kFormat;
  metadata["step"] = std::to_string(state.step);
  metadata["wall_s"] = exact(state.wall_s);
  metadata["threads"] = std::to_string(state.threads);
  metadata["first_loss"] = exact(state.first_loss);
  add_mark(metadata, "metrics", state.metrics);
  add_mark(metadata, "eval", state.evals);
  add_mark(metadata, "events", state.events);
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
  write_sealed_safetensors(file_of(directory, state.step), tensors, std::move(metadata));
  const std::vector<std::int64_t> steps = saved_steps(directory);
  for (std::size_t i = keep; i < steps.size(); ++i) {
    std::error_code ignored;  // a checkpoint too many does no harm
    std::filesystem::remove(file_of(directory, steps[i]), ignored);
  }
}

std::optional<std::filesystem::path> newest_checkpoint(const std::filesystem::path& directory) {
  const std::vector<std::int64_t> steps = saved_steps(directory);
  if (steps.empty()) return std::nullopt;
  return file_of(directory, steps[0]);
}

std::optional<CheckpointState> load_checkpoint(const std::filesystem::path& directory,
                                               StageRun& run) {
  const std::vector<std::int64_t> steps = saved_steps(directory);
  if (steps.empty()) return std::nullopt;
  const std::filesystem::path path = file_of(directory, steps[0]);
  const TensorFile file = read_checkpoint(path);
  CheckpointState state;
  state.step = number<std::int64_t>(file, path, "step", 1);
  if (state.step != steps[0]) damaged(path, "it holds meta-step " + std::to_string(state.step));
  state.wall_s = number<double>(file, path, "wall_s", 0);
  state.threads = number<int>(file, path, "threads", 1);
  state.metrics = mark(file, path, "metrics");
  state.evals = mark(file, path, "eval");
  state.events = mark(file, path, "events");
  try {
    state.identity = parse_identity(file.metadata);
  } catch (const UserError& error) {
    damaged(path, error.what());
  }
  state.first_loss = number<double>(file, path, "first_loss", -std::numeric_limits<double>::max());
  state.recent_losses = recent_losses(file, path);
  for (const Port& port : run.stage().inputs) {
    if (!is_state(port)) continue;
    const NamedTensor* tensor = file.find(port.name);
    if (!tensor || tensor->shape != port.type.shape ||
        tensor->type != stored_type(port.type.dtype)) {
      throw UserError(
          path.string() + ": expected tensor " + port.name + " " + to_string(port.type) +
          (tensor ? ", got " + std::string(stored_name(tensor->type)) + to_string(tensor->shape)
                  : ", which is missing") +
          ": the checkpoint belongs to another experiment");
    }
  }
  for (const Port& port : run.stage().inputs) {
    if (!is_state(port)) continue;
    if (find_non_finite(port.type, file.find(port.name)->data))
      damaged(path, port.name + " is not finite");
  }
  for (const Port& port : run.stage().inputs) {
    if (!is_state(port)) continue;
    const std::span<std::byte> to = run.input(port.name);
    std::memcpy(to.data(), file.find(port.name)->data.data(), to.size());
  }
  return state;
}

}  // namespace mixflow
