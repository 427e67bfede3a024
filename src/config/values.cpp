#include "config/values.h"

#include <algorithm>

#include "config/schema.h"
#include "config/yaml.h"
#include "util/error.h"

namespace mixflow {
namespace {

// Walks the schema over a config and, beside it, over structs that hold the defaults of the kinds
// that the config has chosen.
template <class Visit>
void walk(const std::vector<Key>& keys, void* owner, void* fresh, const std::string& path,
          const Visit& visit) {
  const Key* kind_key = find_kind(keys);
  std::string kind;
  ConfigValue default_kind;
  if (kind_key != nullptr) {
    kind = std::get<std::string>(kind_key->get(owner));
    default_kind = kind_key->get(fresh);
    kind_key->set(fresh, kind);
  }
  for (const Key& key : keys) {
    if (!key.applies_to(kind)) continue;
    const std::string key_path = child_path(path, key.name);
    if (const auto* section = std::get_if<SectionType>(&key.type)) {
      walk(section->keys, section->at(owner), section->at(fresh), key_path, visit);
    } else if (const auto* list = std::get_if<ListType>(&key.type)) {
      for (std::size_t i = 0; i < list->size(owner); ++i) {
        walk(list->keys, list->at(owner, i), list->append(fresh), item_path(key_path, i), visit);
      }
    } else {
      const bool given = !std::holds_alternative<std::monostate>(key.fallback);
      ConfigValue fallback = &key == kind_key ? default_kind : key.get(fresh);
      visit(key, key_path, owner, given ? key.fallback : std::move(fallback));
    }
  }
}

}  // namespace

std::vector<KeyValue> key_values(const Config& config) {
  std::vector<KeyValue> values;
  Config copy = config, fresh;  // sections are reached through mutable structs
  walk(schema(), &copy, &fresh, "",
       [&](const Key& key, const std::string& path, void* owner, ConfigValue fallback) {
         values.push_back({path, key.get(owner), std::move(fallback), key.required});
       });
  return values;
}

std::vector<KeyValue> changed_keys(const Config& config) {
  std::vector<KeyValue> values = key_values(config);
  std::erase_if(values, [&](const KeyValue& key) {
    return !config.origins.contains(key.path) || (!key.required && key.value == key.fallback);
  });
  return values;
}

void set_default(Config& config, const std::string& path) {
  Config fresh;
  bool found = false;
  walk(schema(), &config, &fresh, "",
       [&](const Key& key, const std::string& at, void* owner, const ConfigValue& fallback) {
         if (at != path) return;
         key.set(owner, fallback);
         found = true;
       });
  MIXFLOW_CHECK(found, "no key " + path + " under these kinds");
}

}  // namespace mixflow
