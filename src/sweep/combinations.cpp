#include "sweep/combinations.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>

#include "config/over.h"
#include "util/hash.h"
#include "util/rng.h"
#include "util/text.h"

namespace mixflow {
namespace {

// All choices of one block.
using Block = std::vector<Settings>;

// A number as a config has it: six digits tell enough and can be read.
YamlNode number_node(double value, const RandomAxis& axis) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  double rounded = std::strtod(text, nullptr);
  if (rounded < axis.low || rounded > axis.high) rounded = value;
  YamlNode node;
  node.kind = YamlNode::Kind::scalar;
  node.place = axis.place;
  node.text = number_text(rounded);
  return node;
}

YamlNode draw(const RandomAxis& axis, std::uint64_t seed, std::int64_t sample) {
  Rng rng(seed, Purpose::sweep_points, static_cast<std::uint64_t>(sample),
          static_cast<std::uint32_t>(hash_of(axis.key)));
  if (axis.kind == RandomAxis::Kind::choice) return axis.choices[rng.below(axis.choices.size())];
  const bool logarithmic = axis.kind == RandomAxis::Kind::log_uniform;
  // Integers: each has an interval of width 1 around it.
  const double half = axis.whole ? 0.5 : 0;
  const double low = axis.low - (axis.whole && !logarithmic ? half : 0);
  const double high = axis.high + (axis.whole && !logarithmic ? half : 0);
  double value =
      logarithmic ? std::exp(rng.uniform(std::log(low), std::log(high))) : rng.uniform(low, high);
  if (axis.whole) {
    YamlNode node = number_node(0, axis);
    value = std::clamp(std::round(value), axis.low, axis.high);
    node.text = std::to_string(static_cast<std::int64_t>(value));
    return node;
  }
  return number_node(std::clamp(value, axis.low, axis.high), axis);
}

Block block_of(const Axis& axis) {
  Block block;
  for (const YamlNode& value : axis.values) block.push_back({{axis.key, axis.place, value}});
  return block;
}

Block zip_block(const std::vector<Axis>& axes) {
  Block block(axes.empty() ? 0 : axes.front().values.size());
  for (const Axis& axis : axes) {
    for (std::size_t i = 0; i < block.size(); ++i) {
      block[i].push_back({axis.key, axis.place, axis.values[i]});
    }
  }
  return block;
}

Block random_block(const SweepSpec& spec) {
  Block block(static_cast<std::size_t>(spec.samples));
  for (std::size_t i = 0; i < block.size(); ++i) {
    for (const RandomAxis& axis : spec.random) {
      block[i].push_back(
          {axis.key, axis.place, draw(axis, spec.random_seed, static_cast<std::int64_t>(i))});
    }
  }
  return block;
}

std::vector<Block> blocks_of(const SweepSpec& spec) {
  std::vector<Block> blocks;
  for (const Axis& axis : spec.grid) blocks.push_back(block_of(axis));
  if (!spec.zip.empty()) blocks.push_back(zip_block(spec.zip));
  if (!spec.list.empty()) blocks.push_back(spec.list);
  if (!spec.random.empty()) blocks.push_back(random_block(spec));
  if (spec.seeds) blocks.push_back(block_of(*spec.seeds));
  return blocks;
}

std::vector<Expression> conditions_of(const SweepSpec& spec, const std::vector<std::string>& axes) {
  std::vector<Expression> conditions;
  for (const Condition& condition : spec.when) {
    const auto place = [condition](std::size_t offset) {
      TextPlace at = condition.place;
      if (condition.exact) at.column += static_cast<int>(offset);
      return at;
    };
    conditions.emplace_back(condition.text, place, axes);
  }
  return conditions;
}

}  // namespace

Combinations expand(const SweepSpec& spec, const BaseValue& base_value) {
  const std::vector<std::string> axes = spec.axes();
  const std::vector<Expression> conditions = conditions_of(spec, axes);
  const std::vector<Block> blocks = blocks_of(spec);
  std::size_t count = 1;
  for (const Block& block : blocks) {
    count *= block.size();  // blocks have at most 100,000 choices each
    if (count > kMostCombinations) {
      fail_at({spec.base_place.source, 1, 1}, "",
              "more than " + std::to_string(kMostCombinations) +
                  " combinations; use fewer values, or random with as many samples as you can run");
    }
  }
  Combinations all;
  for (std::size_t i = 0; i < count; ++i) {
    Settings settings;
    std::size_t rest = count, at = i;
    for (const Block& block : blocks) {
      rest /= block.size();
      const Settings& chosen = block[at / rest];
      at %= rest;
      settings.insert(settings.end(), chosen.begin(), chosen.end());
    }
    const auto value_of = [&](std::size_t axis) {
      const auto found = std::ranges::find(settings, axes[axis], &Setting::key);
      return found == settings.end() ? base_value(axes[axis]) : operand_of(found->value);
    };
    if (std::ranges::all_of(conditions, [&](const auto& each) { return each.holds(value_of); })) {
      all.points.push_back(std::move(settings));
    } else {
      ++all.left_out;
    }
  }
  if (all.points.empty()) {
    fail_at(spec.when.front().place, "when",
            "no combination of the " + std::to_string(count) + " fulfils it; loosen it");
  }
  return all;
}

Settings first_combination(const SweepSpec& spec) {
  Settings settings;
  for (const Block& block : blocks_of(spec)) {
    settings.insert(settings.end(), block.front().begin(), block.front().end());
  }
  return settings;
}

}  // namespace mixflow
