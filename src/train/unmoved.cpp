#include "train/unmoved.h"

#include <algorithm>
#include <string_view>

#include "util/hash.h"
#include "util/text.h"

namespace mixflow {
namespace {

std::uint64_t hash_of_input(const StageRun& run, const std::string& name) {
  const std::span<const std::byte> bytes = run.input(name);
  return hash_of(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

}  // namespace

Unmoved::Unmoved(const std::vector<Port>& eta, const StageRun& run) {
  for (const Port& port : eta) {
    names_.push_back(port.name);
    hashes_.push_back(hash_of_input(run, port.name));
  }
}

std::string Unmoved::text(const StageRun& run, std::int64_t steps) const {
  constexpr std::size_t kShown = 3;
  std::vector<std::string> still;
  for (std::size_t i = 0; i < names_.size(); ++i) {
    if (hash_of_input(run, names_[i]) == hashes_[i]) still.push_back(names_[i]);
  }
  if (still.empty()) return "";
  const std::size_t count = still.size();
  still.resize(std::min(count, kShown));
  return join(still, ", ") +
         (count > kShown ? " and " + std::to_string(count - kShown) + " more" : "") +
         " did not move in the first " + std::to_string(steps) +
         " meta-steps: the meta-gradient was 0 there, too small to show, or "
         "held by bounds";
}

}  // namespace mixflow
