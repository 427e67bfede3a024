// How the enums of config.h are spelled in YAML, logs and tables: one list per enum, in the enum's
// order.
#pragma once

#include <cstddef>
#include <iterator>
#include <string_view>

#include "config/config.h"

namespace mixflow {

template <class Enum>
struct EnumNames;  // names: an array indexed by the enum's value

template <>
struct EnumNames<Precision> {
  static constexpr std::string_view names[] = {"f32", "bf16", "f64"};
};
template <>
struct EnumNames<Target> {
  static constexpr std::string_view names[] = {"classification", "regression"};
};
template <>
struct EnumNames<Activation> {
  static constexpr std::string_view names[] = {"relu", "tanh", "gelu", "sigmoid", "silu"};
};
template <>
struct EnumNames<Init> {
  static constexpr std::string_view names[] = {"fan_in", "he", "zero"};
};
template <>
struct EnumNames<Loss> {
  static constexpr std::string_view names[] = {"mse", "cross_entropy", "bce"};
};
template <>
struct EnumNames<OptimizerKind> {
  static constexpr std::string_view names[] = {"sgd",  "momentum", "nesterov",
                                               "adam", "adamw",    "rmsprop"};
};
template <>
struct EnumNames<MetaKind> {
  static constexpr std::string_view names[] = {"init",  "lr",           "momentum", "beta1",
                                               "beta2", "weight_decay", "l2",       "loss_weights"};
};
template <>
struct EnumNames<Granularity> {
  static constexpr std::string_view names[] = {"scalar", "per_tensor", "per_parameter", "per_step"};
};
template <>
struct EnumNames<Transform> {
  static constexpr std::string_view names[] = {"identity", "exp", "softplus", "sigmoid"};
};
template <>
struct EnumNames<ScheduleKind> {
  static constexpr std::string_view names[] = {"constant", "cosine", "step"};
};
template <>
struct EnumNames<Preset> {
  static constexpr std::string_view names[] = {"none", "smallest", "balanced", "fastest"};
};
template <>
struct EnumNames<Bf16Check> {
  static constexpr std::string_view names[] = {"auto", "always", "never"};
};
template <>
struct EnumNames<BlockKeep> {
  static constexpr std::string_view names[] = {"by_block", "inputs", "dots", "all"};
};
template <>
struct EnumNames<Mode> {
  static constexpr std::string_view names[] = {"mixed", "reverse", "first_order",
                                               "finite_difference"};
};

template <class Enum>
constexpr std::string_view name_of(Enum value) {
  return EnumNames<Enum>::names[static_cast<std::size_t>(value)];
}

// The value spelled `name`, which is one of the names.
template <class Enum>
constexpr Enum value_of(std::string_view name) {
  std::size_t i = 0;
  while (i + 1 < std::size(EnumNames<Enum>::names) && EnumNames<Enum>::names[i] != name) ++i;
  return static_cast<Enum>(i);
}

}  // namespace mixflow
