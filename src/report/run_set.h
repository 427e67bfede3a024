// The results that count in a report, as columns: what their configs say, and which of them differ
// in the seed alone.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "report/run_record.h"

namespace mixflow {

inline constexpr std::string_view kSeedKey = "seed";
inline constexpr std::string_view kNameKey = "name";  // says nothing of what is computed
inline constexpr std::string_view kAbsent = "–";      // of a key that a config does not have

// A config key over all runs.
struct KeyColumn {
  std::string name;
  std::vector<std::string> texts;  // the distinct values: by size if all are numbers, else by name
  std::vector<int> index;          // by run, into texts
  bool numeric = false;            // all texts are numbers

  const std::string& text(std::size_t run) const { return texts[std::size_t(index[run])]; }
  double number(std::size_t text_index) const;  // where numeric
};

class RunSet {
 public:
  explicit RunSet(std::vector<RunRecord> runs);

  std::size_t size() const { return runs_.size(); }
  const RunRecord& run(std::size_t i) const { return runs_[i]; }
  const std::vector<KeyColumn>& keys() const { return keys_; }

  // The column of a key, also by meta.parameters.0.kind for meta.parameters[0].kind. UserError,
  // starting with `where` and naming the nearest keys, for one that no config has.
  const KeyColumn& key(std::string_view name, std::string_view where) const;
  const KeyColumn* find_key(std::string_view name) const;

  // Whether some run has this number in its record.
  bool has_number(std::string_view name) const;

  // Runs whose configs are equal in every key but the seed and the name have the same number, from
  // 0.
  int configuration(std::size_t run) const { return configurations_[run]; }
  std::size_t num_configurations() const { return num_configurations_; }
  std::size_t num_seeds() const;

  // Keys that differ among the runs, without seed and name and without those that only follow
  // another axis (differ exactly where that one does); these are in `followers`, as (key, axis).
  const std::vector<const KeyColumn*>& axes() const { return axes_; }
  const std::vector<std::pair<std::string, std::string>>& followers() const { return followers_; }

 private:
  void build_keys();
  void number_configurations();
  void find_axes();

  std::vector<RunRecord> runs_;
  std::vector<KeyColumn> keys_;
  std::vector<int> configurations_;
  std::size_t num_configurations_ = 0;
  std::vector<const KeyColumn*> axes_;
  std::vector<std::pair<std::string, std::string>> followers_;
};

// "a, b or c": up to five of `names` that `word` may stand for, the nearest first; "" for none.
std::string nearest_names(std::string_view word, const std::vector<std::string>& names);

// The whole of `text` as a number.
std::optional<double> number_of(std::string_view text);

}  // namespace mixflow
