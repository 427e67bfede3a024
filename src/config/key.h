// What one configuration key is: its type and range, its documentation, when it applies, and where
// it lives in the structs of config.h. schema.cpp lists all keys; the loader's checks, the printed
// schema, JSON Schema and the resolved dump all read that list, so a new key is one entry there.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "config/config.h"
#include "config/names.h"

namespace mixflow {

// A key's value between YAML and the struct's field; monostate: null, for keys that may be absent.
// A choice is its name.
using ConfigValue = std::variant<std::monostate, bool, std::int64_t, double, std::string,
                                 std::vector<std::int64_t>, std::vector<std::string>, Range>;

struct Interval {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_open = false;  // whether the end itself is outside
  bool high_open = false;
  bool infinite = false;  // .inf and -.inf are values too
  bool contains(double x) const;
};

constexpr std::int64_t kLargestInt = std::numeric_limits<int>::max();
constexpr std::int64_t kLargestInt64 = std::int64_t{1} << 53;  // exact in a double, hence in JSON

struct Key;

struct TruthType {};
struct IntegerType {
  std::int64_t low, high;
};
struct NumberType {
  Interval in;
};
struct TextType {
  enum class Form : std::uint8_t { word, path, column, any } form = Form::any;
};
struct TextsType {  // a list, or one text, which is a list of one
  TextType::Form form = TextType::Form::any;
};
struct ChoiceType {
  std::vector<std::string_view> names;
};
struct RangeType {  // [low, high], low <= high
  Interval each;
};
struct IntegersType {
  std::int64_t low, high;
  std::string_view example;
};
struct SectionType {
  std::vector<Key> keys;
  std::function<void*(void*)> at;  // the section's struct inside the one around it
};
struct ListType {  // of sections
  std::vector<Key> keys;
  std::function<std::size_t(const void*)> size;
  std::function<void*(void*, std::size_t)> at;
  std::function<void*(void*)> append;
};
using KeyType = std::variant<TruthType, IntegerType, NumberType, TextType, TextsType, ChoiceType,
                             RangeType, IntegersType, SectionType, ListType>;

struct Key {
  std::string name;
  KeyType type;
  std::string doc;   // one line
  std::string unit;  // "" for none
  bool required = false;
  bool nullable = false;  // null means absent
  ConfigValue fallback;   // the default where it is not the struct's own
  std::vector<std::string_view>
      kinds;  // applies under these values of the section's `kind`; empty: all
  std::vector<std::string_view> others;  // words that people write instead
  std::function<ConfigValue(const void*)> get;
  std::function<void(void*, const ConfigValue&)> set;

  // A section may list one name several times, for different kinds.
  bool applies_to(std::string_view kind) const;

  // Modifiers, to be chained onto an entry.
  Key& when(std::initializer_list<std::string_view> only_under_kinds);
  Key& in(std::string_view unit_name);
  Key& also(std::initializer_list<std::string_view> words);
  Key& must();                        // required
  Key& otherwise(ConfigValue value);  // default
};

// The choice that tells which keys of a section apply, or nullptr.
const Key* find_kind(std::span<const Key> keys);

// "a number > 0", "one of relu, tanh", ..: what is expected of a value, for messages and the
// schema.
std::string expectation(const KeyType& type);

// --- from fields to values -----------------------------------------------------------

template <class T>
constexpr bool kIsVector = false;
template <class T>
constexpr bool kIsVector<std::vector<T>> = true;
template <class T>
constexpr bool kIsOptional = false;
template <class T>
constexpr bool kIsOptional<std::optional<T>> = true;

template <class Field>
ConfigValue to_value(const Field& field) {
  if constexpr (std::is_same_v<Field, bool>) {
    return field;
  } else if constexpr (std::is_enum_v<Field>) {
    return std::string(name_of(field));
  } else if constexpr (std::is_integral_v<Field>) {
    return static_cast<std::int64_t>(field);
  } else if constexpr (std::is_same_v<Field, std::vector<std::string>>) {
    return field;
  } else if constexpr (kIsVector<Field>) {
    return std::vector<std::int64_t>(field.begin(), field.end());
  } else if constexpr (kIsOptional<Field>) {
    return field ? to_value(*field) : ConfigValue{};
  } else {
    return field;  // double, text, range
  }
}

template <class Field>
void from_value(const ConfigValue& value, Field& field) {
  if constexpr (std::is_same_v<Field, bool>) {
    field = std::get<bool>(value);
  } else if constexpr (std::is_enum_v<Field>) {
    field = value_of<Field>(std::get<std::string>(value));
  } else if constexpr (std::is_integral_v<Field>) {
    field = static_cast<Field>(std::get<std::int64_t>(value));
  } else if constexpr (std::is_same_v<Field, std::vector<std::string>>) {
    field = std::get<Field>(value);
  } else if constexpr (kIsVector<Field>) {
    field.clear();
    for (const std::int64_t item : std::get<std::vector<std::int64_t>>(value)) {
      field.push_back(static_cast<typename Field::value_type>(item));
    }
  } else if constexpr (kIsOptional<Field>) {
    field.reset();
    if (!std::holds_alternative<std::monostate>(value)) from_value(value, field.emplace());
  } else {
    field = std::get<Field>(value);
  }
}

// --- entries -------------------------------------------------------------------------

// Collects the keys of one section, whose struct is Owner. `at` is a member pointer or a function
// from Owner& to the field; entries keep the order in which they are added, which is the order of
// the schema and of dumps.
template <class Owner>
class Keys {
 public:
  template <class At>
  Key& truth(std::string name, At at, std::string doc) {
    return add(std::move(name), TruthType{}, std::move(doc), at);
  }
  template <class At>
  Key& integer(std::string name, At at, std::int64_t low, std::string doc) {
    const std::int64_t high = sizeof(FieldOf<At>) < 8 ? kLargestInt : kLargestInt64;
    return integer(std::move(name), at, low, high, std::move(doc));
  }
  template <class At>
  Key& integer(std::string name, At at, std::int64_t low, std::int64_t high, std::string doc) {
    return add(std::move(name), IntegerType{low, high}, std::move(doc), at);
  }
  template <class At>
  Key& number(std::string name, At at, Interval in, std::string doc) {
    return add(std::move(name), NumberType{in}, std::move(doc), at);
  }
  template <class At>
  Key& text(std::string name, At at, TextType::Form form, std::string doc) {
    return add(std::move(name), TextType{form}, std::move(doc), at);
  }
  template <class At>
  Key& texts(std::string name, At at, TextType::Form form, std::string doc) {
    return add(std::move(name), TextsType{form}, std::move(doc), at);
  }
  template <class At>
  Key& choice(std::string name, At at, std::string doc) {
    const auto& names = EnumNames<FieldOf<At>>::names;
    return add(std::move(name), ChoiceType{{std::begin(names), std::end(names)}}, std::move(doc),
               at);
  }
  // A choice that the struct holds as text.
  template <class At>
  Key& choice(std::string name, At at, std::vector<std::string_view> names, std::string doc) {
    return add(std::move(name), ChoiceType{std::move(names)}, std::move(doc), at);
  }
  template <class At>
  Key& range(std::string name, At at, Interval each, std::string doc) {
    return add(std::move(name), RangeType{each}, std::move(doc), at);
  }
  template <class At>
  Key& integers(std::string name, At at, std::int64_t low, std::string_view example,
                std::string doc) {
    using Item = typename std::remove_cvref_t<std::invoke_result_t<At, Owner&>>::value_type;
    const std::int64_t high = sizeof(Item) < 8 ? kLargestInt : kLargestInt64;
    return add(std::move(name), IntegersType{low, high, example}, std::move(doc), at);
  }
  template <class At>
  Key& section(std::string name, At at, std::vector<Key> keys, std::string doc) {
    Key& key = add_plain(std::move(name), std::move(doc));
    key.type = SectionType{std::move(keys), [at](void* owner) -> void* {
                             return &std::invoke(at, *static_cast<Owner*>(owner));
                           }};
    return key;
  }
  template <class At>
  Key& list(std::string name, At at, std::vector<Key> keys, std::string doc) {
    Key& key = add_plain(std::move(name), std::move(doc));
    key.type = ListType{std::move(keys),
                        [at](const void* owner) {
                          return std::invoke(at, *static_cast<const Owner*>(owner)).size();
                        },
                        [at](void* owner, std::size_t i) -> void* {
                          return &std::invoke(at, *static_cast<Owner*>(owner))[i];
                        },
                        [at](void* owner) -> void* {
                          return &std::invoke(at, *static_cast<Owner*>(owner)).emplace_back();
                        }};
    return key;
  }
  // A choice whose reading and writing is more than a field: `get` from const Owner&, `set` from
  // Owner& and the name.
  template <class Get, class Set>
  Key& custom_choice(std::string name, std::vector<std::string_view> names, Get get, Set set,
                     std::string doc) {
    Key& key = add_plain(std::move(name), std::move(doc));
    key.type = ChoiceType{std::move(names)};
    key.get = [get](const void* owner) -> ConfigValue {
      return get(*static_cast<const Owner*>(owner));
    };
    key.set = [set](void* owner, const ConfigValue& value) {
      set(*static_cast<Owner*>(owner), std::get<std::string>(value));
    };
    return key;
  }

  std::vector<Key> take() { return std::move(keys_); }

 private:
  // What the accessor `At` reaches.
  template <class At>
  using FieldOf = std::remove_cvref_t<std::invoke_result_t<At, Owner&>>;

  Key& add_plain(std::string name, std::string doc) {
    Key& key = keys_.emplace_back();
    key.name = std::move(name);
    key.doc = std::move(doc);
    return key;
  }
  template <class At>
  Key& add(std::string name, KeyType type, std::string doc, At at) {
    Key& key = add_plain(std::move(name), std::move(doc));
    key.type = std::move(type);
    key.nullable = kIsOptional<FieldOf<At>>;
    // Fields are reached through one accessor that takes a mutable struct; reading does not change
    // it.
    key.get = [at](const void* owner) {
      return to_value<FieldOf<At>>(std::invoke(at, *static_cast<Owner*>(const_cast<void*>(owner))));
    };
    key.set = [at](void* owner, const ConfigValue& value) {
      from_value<FieldOf<At>>(value, std::invoke(at, *static_cast<Owner*>(owner)));
    };
    return key;
  }

  std::vector<Key> keys_;
};

}  // namespace mixflow
