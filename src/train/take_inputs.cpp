#include "train/take_inputs.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "data/safetensors.h"
#include "util/error.h"
#include "util/text.h"

namespace mixflow {
namespace {

constexpr std::size_t kMostListed = 12;
constexpr const char* kWayOut = "`mixflow grad CONFIG --out FILE` writes a file that fits";
constexpr const char* kOrder = "weights here are [in, out], those of torch.nn.Linear [out, in]";

bool is_transpose(const Shape& a, const Shape& b) {
  return a.size() == 2 && b.size() == 2 && a[0] == b[1] && a[1] == b[0];
}

bool is_input_name(std::string_view name) {
  return name.starts_with("eta.") || name.starts_with("theta.") || name.starts_with("data.");
}

bool is_result_name(std::string_view name) {
  return name.starts_with("meta_grad.") || name.starts_with("theta_T.") || name == "inner_loss" ||
         name == "outer_loss";
}

template <class Items, class NameOf>
std::string listed(const Items& items, NameOf name_of) {
  std::vector<std::string> names;
  for (const auto& item : items) {
    if (names.size() == kMostListed) break;
    names.push_back(name_of(item));
  }
  const std::string more = items.size() > kMostListed
                               ? ", and " + std::to_string(items.size() - kMostListed) + " more"
                               : "";
  return join(names, ", ") + more;
}

std::string listed(const std::vector<Port>& ports) {
  return listed(ports, [](const Port& port) { return port.name + to_string(port.type.shape); });
}

// What the numbers of an input may be.
struct Allowed {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  std::string what = "a finite number";
};

Allowed allowed_in(const Port& port, const Config& config, const TaskSource& source) {
  if (port.type.dtype == DType::i32) {
    const std::int64_t last = source.output_width() - 1;
    const bool tokens = port.name.ends_with(".tokens");
    return {.low = 0,
            .high = static_cast<double>(last),
            .what = "0 to " + std::to_string(last) +
                    (tokens ? ", the ids of the vocabulary" : ", the labels of the classes")};
  }
  if (config.inner.loss == Loss::bce && port.name.starts_with("data.") &&
      port.name.ends_with(".y")) {
    return {.low = 0, .high = 1, .what = "0 to 1, as inner.loss bce has it"};
  }
  return {};
}

template <class T>
void check_values(std::span<const std::byte> data, const Port& port, const Allowed& allowed,
                  const std::string& file) {
  for (std::size_t i = 0; i < data.size() / sizeof(T); ++i) {
    T value;
    std::memcpy(&value, data.data() + i * sizeof(T), sizeof(T));
    const auto number = static_cast<double>(value);
    if (std::isfinite(number) && number >= allowed.low && number <= allowed.high) continue;
    throw UserError(file + ": " + element_name(port.name, port.type.shape, i) + " is " +
                    number_text(number) + ", expected " + allowed.what);
  }
}

class InputTaker {
 public:
  InputTaker(const std::filesystem::path& path, const Config& config, const TaskSource& source,
             StageRun& run)
      : file_(path), name_(path.string()), config_(config), source_(source), run_(run) {}

  TakenInputs take() {
    sort_names();
    for (const Port& port : run_.stage().inputs) {
      if (const StoredTensor* tensor = file_.find(port.name)) copy(*tensor, port);
    }
    for (const Port& port : missing_) taken_.drawn.push_back(port.name);
    return std::move(taken_);
  }

 private:
  // Which of the file's tensors are inputs; an error for those that should be.
  void sort_names() {
    for (const Port& port : run_.stage().inputs) {
      if (!file_.find(port.name)) missing_.push_back(port);
    }
    std::vector<const StoredTensor*> unknown;
    for (const StoredTensor& tensor : file_.tensors()) {
      if (run_.has_input(tensor.name)) continue;
      if (is_input_name(tensor.name)) fail_unknown({&tensor}, "the config has no such input");
      if (is_result_name(tensor.name)) {
        taken_.results.push_back(tensor.name);
      } else {
        unknown.push_back(&tensor);
        taken_.unused.push_back(tensor.name);
      }
    }
    if (missing_.size() == run_.stage().inputs.size()) {
      fail_unknown(unknown, "none of the file's names is an input of the config");
    }
    std::erase_if(unknown, [this](const StoredTensor* t) { return !may_be_missing(*t); });
    if (!unknown.empty()) {
      fail_unknown(unknown,
                   "no input of the config has this name, but the file lacks one of its "
                   "shape");
    }
  }

  bool may_be_missing(const StoredTensor& tensor) const {
    return std::ranges::any_of(missing_, [&](const Port& port) {
      return is_float(port.type.dtype) != holds_whole_numbers(tensor.type) &&
             (port.type.shape == tensor.shape || is_transpose(port.type.shape, tensor.shape));
    });
  }

  [[noreturn]] void fail_unknown(const std::vector<const StoredTensor*>& tensors,
                                 const std::string& what) const {
    const bool transposed = std::ranges::any_of(tensors, [this](const StoredTensor* tensor) {
      return std::ranges::any_of(run_.stage().inputs, [&](const Port& port) {
        return is_transpose(port.type.shape, tensor->shape);
      });
    });
    const std::string names =
        listed(tensors, [](const StoredTensor* t) { return t->name + to_string(t->shape); });
    throw UserError(name_ + ": " + (names.empty() ? "" : names + ": ") + what + ", expected " +
                    listed(missing_.empty() ? run_.stage().inputs : missing_) +
                    (transposed ? std::string("; ") + kOrder : "") + "; " + kWayOut);
  }

  void copy(const StoredTensor& tensor, const Port& port) {
    if (tensor.shape != port.type.shape) {
      throw UserError(
          name_ + ": " + port.name + ": expected shape " + to_string(port.type.shape) +
          " from the config, got " + to_string(tensor.shape) +
          (is_transpose(tensor.shape, port.type.shape) ? std::string("; ") + kOrder : "") + "; " +
          kWayOut);
    }
    if (tensor.type == StoredType::other) {
      throw UserError(name_ + ": " + port.name + ": holds " + in_quotes(tensor.type_name) +
                      ", expected " +
                      (is_float(port.type.dtype) ? "F16, BF16, F32 or F64" : "I32 or I64"));
    }
    const std::span<std::byte> to = run_.input(port.name);
    copy_tensor(file_.read(tensor), port.type.dtype, to, name_);
    const Allowed allowed = allowed_in(port, config_, source_);
    switch (port.type.dtype) {
      case DType::f32:
        return check_values<float>(to, port, allowed, name_);
      case DType::f64:
        return check_values<double>(to, port, allowed, name_);
      case DType::i32:
        return check_values<std::int32_t>(to, port, allowed, name_);
    }
  }

  const SafetensorsFile file_;
  const std::string name_;
  const Config& config_;
  const TaskSource& source_;
  StageRun& run_;
  std::vector<Port> missing_;
  TakenInputs taken_;
};

}  // namespace

TakenInputs take_inputs(const std::filesystem::path& path, const Config& config,
                        const TaskSource& source, StageRun& run) {
  return InputTaker(path, config, source, run).take();
}

}  // namespace mixflow
