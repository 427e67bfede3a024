#include "config/load.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <variant>
#include <vector>

#include "config/causes.h"
#include "config/check.h"
#include "config/override.h"
#include "config/paths.h"
#include "config/preset.h"
#include "config/read.h"
#include "config/schema.h"
#include "config/yaml.h"
#include "util/error.h"
#include "util/glob.h"
#include "util/input_file.h"
#include "util/text.h"

namespace mixflow {
namespace {

constexpr std::int64_t kMaxBytes = 1 << 20;

// Walks the YAML tree and the schema together, and fills the structs.
class Loader {
 public:
  explicit Loader(Config& config) : config_(config) {}

  void read_root(const YamlNode& root) {
    note("", root.place);
    read_section(root, schema(), &config_, "");
  }

 private:
  void note(const std::string& path, const TextPlace& place) {
    config_.origins[path] = place.text();
  }

  void read_section(const YamlNode& node, const std::vector<Key>& keys, void* owner,
                    const std::string& path) {
    for (const YamlEntry& entry : node.entries) {
      if (std::ranges::find(keys, entry.key, &Key::name) == keys.end()) {
        fail_unknown(entry, keys, path);
      }
    }
    const std::string kind = read_kind(node, keys, owner, path);
    for (const Key& key : keys) {
      const bool unset = key.applies_to(kind) && node.find(key.name) == nullptr;
      if (unset && !std::holds_alternative<std::monostate>(key.fallback)) {
        key.set(owner, key.fallback);
      }
    }
    for (const YamlEntry& entry : node.entries) {
      if (entry.key != "kind") read_entry(entry, node, keys, owner, path, kind);
    }
    for (const Key& key : keys) {
      const bool missing = key.required && key.applies_to(kind) && node.find(key.name) == nullptr;
      if (missing) fail_missing(node, key, path);
    }
  }

  // The kind decides which other keys there are, so it is read first wherever it stands.
  std::string read_kind(const YamlNode& node, const std::vector<Key>& keys, void* owner,
                        const std::string& path) {
    const Key* key = find_kind(keys);
    if (key == nullptr) return "";
    if (const YamlEntry* entry = node.find("kind")) {
      read_leaf(*entry, *key, owner, child_path(path, "kind"));
    } else if (key->required) {
      fail_missing(node, *key, path);
    }
    return std::get<std::string>(key->get(owner));
  }

  void read_entry(const YamlEntry& entry, const YamlNode& node, const std::vector<Key>& keys,
                  void* owner, const std::string& path, const std::string& kind) {
    const auto key = std::ranges::find_if(
        keys, [&](const Key& k) { return k.name == entry.key && k.applies_to(kind); });
    const std::string key_path = child_path(path, entry.key);
    if (key == keys.end()) fail_other_kind(entry, node, keys, key_path, kind);
    note(key_path, entry.value.place);
    if (const auto* section = std::get_if<SectionType>(&key->type)) {
      // "gradient:" with everything below it commented out is a section without keys.
      if (entry.value.kind != YamlNode::Kind::map && entry.value.kind != YamlNode::Kind::null) {
        read_value(*key, entry.value, key_path, {});
      }
      read_section(entry.value, section->keys, section->at(owner), key_path);
    } else if (const auto* list = std::get_if<ListType>(&key->type)) {
      read_list(entry, *key, *list, owner, key_path);
    } else {
      read_leaf(entry, *key, owner, key_path);
    }
  }

  void read_leaf(const YamlEntry& entry, const Key& key, void* owner, const std::string& path) {
    note(path, entry.value.place);
    // Until the key is set, the struct holds its default, unless the key has one of its own.
    const bool own = !std::holds_alternative<std::monostate>(key.fallback);
    const ConfigValue fallback = key.required ? ConfigValue{} : own ? key.fallback : key.get(owner);
    key.set(owner, read_value(key, entry.value, path, fallback));
  }

  void read_list(const YamlEntry& entry, const Key& key, const ListType& list, void* owner,
                 const std::string& path) {
    if (entry.value.kind != YamlNode::Kind::list) read_value(key, entry.value, path, {});
    for (std::size_t i = 0; i < entry.value.items.size(); ++i) {
      const YamlNode& item = entry.value.items[i];
      const std::string item_key = item_path(path, i);
      note(item_key, item.place);
      if (item.kind != YamlNode::Kind::map) {
        fail_at(item.place, item_key,
                "expected a section such as {kind: lr}, got " + found_text(item));
      }
      read_section(item, list.keys, list.append(owner), item_key);
    }
  }

  [[noreturn]] static void fail_unknown(const YamlEntry& entry, const std::vector<Key>& keys,
                                        const std::string& path) {
    const std::string key_path = child_path(path, entry.key);
    const std::size_t space = entry.key.find(' ');
    if (entry.value.kind == YamlNode::Kind::null && space != std::string::npos) {
      fail_at(entry.place, path,
              "expected \"key: value\", got " + in_quotes(entry.key) +
                  "; is a \":\" missing after " + in_quotes(entry.key.substr(0, space)) + "?");
    }
    std::vector<std::string_view> names;
    for (const Key& key : keys) {
      if (std::ranges::find(names, key.name) == names.end()) names.push_back(key.name);
    }
    std::string suggestion = elsewhere(entry.key, path);
    for (const Key& key : keys) {
      const bool synonym = std::ranges::find(key.others, entry.key) != key.others.end();
      if (suggestion.empty() && synonym) suggestion = key.name;
    }
    if (suggestion.empty()) suggestion = nearest(entry.key, names);
    const std::string way_out = suggestion.empty()
                                    ? namesake(entry.key) + "; keys here: " + join(names, ", ")
                                    : ", did you mean " + suggestion + "?";
    fail_at(entry.place, key_path, "unknown key" + way_out);
  }

  // A key of that name in another section may be what was meant or something else: what it does
  // tells.
  static std::string namesake(const std::string& name) {
    const std::string path = elsewhere(name, "");
    if (path.empty()) return "";
    const std::vector<SchemaRow> rows = schema_rows();
    const auto row = std::ranges::find(rows, path, &SchemaRow::path);
    return "; another section has " + path + " (" + row->key->doc + ")";
  }

  // The path of the key `name` in a section inside `path`, nearest to it first; "" where there is
  // none.
  static std::string elsewhere(const std::string& name, const std::string& path) {
    std::string best;
    for (const SchemaRow& row : schema_rows()) {
      const bool inside = path.empty() || row.path.starts_with(path + ".");
      const bool same = row.path.ends_with("." + name) && name != "kind";
      const auto depth = std::ranges::count(row.path, '.');
      if (inside && same && (best.empty() || depth < std::ranges::count(best, '.'))) {
        best = row.path;
      }
    }
    return best;
  }

  [[noreturn]] static void fail_other_kind(const YamlEntry& entry, const YamlNode& node,
                                           const std::vector<Key>& keys, const std::string& path,
                                           const std::string& kind) {
    std::vector<std::string_view> kinds;
    for (const Key& key : keys) {
      if (key.name == entry.key) kinds.insert(kinds.end(), key.kinds.begin(), key.kinds.end());
    }
    // The kind may come from an override that knows nothing of this key.
    const YamlEntry* written = node.find("kind");
    const bool elsewhere = written != nullptr && written->value.place.source != nullptr &&
                           entry.place.source != nullptr &&
                           *written->value.place.source != *entry.place.source;
    const std::string section = path.substr(0, path.find_last_of('.'));
    fail_at(entry.place, path,
            "does not apply to kind " + kind + ", only to " + join(kinds, ", ") +
                (elsewhere
                     ? "; the kind is from " + written->value.place.text() +
                           ": set the whole section there, " + section + "={kind: " + kind + ", ..}"
                     : "; remove it or change the kind"));
  }

  [[noreturn]] static void fail_missing(const YamlNode& node, const Key& key,
                                        const std::string& path) {
    fail_at(node.place, child_path(path, key.name),
            "missing; it is " + expectation(key.type) + " (" + key.doc + ")");
  }

  Config& config_;
};

}  // namespace

std::string resolved_path(const std::string& file, const std::string& config_file) {
  // path.npz:member
  const std::size_t archive = file.find(".npz:");
  const std::size_t end = archive == std::string::npos ? file.size() : archive + 4;
  const std::filesystem::path path(file.substr(0, end));
  std::error_code ignored;
  const auto leads_somewhere = [&](const std::filesystem::path& to) {
    return std::filesystem::exists(to, ignored) ||
           (has_wildcards(to.string()) && !glob_paths(to.string()).empty());
  };
  if (file.empty() || path.is_absolute() || leads_somewhere(path)) return file;
  const auto beside = std::filesystem::path(config_file).parent_path() / path;
  if (!leads_somewhere(beside)) return file;
  return beside.lexically_normal().string() + file.substr(end);
}

namespace {

void resolve_paths(Config& config) {
  const auto resolve = [&](auto& data) {
    data.x = resolved_path(data.x, config.file);
    data.y = resolved_path(data.y, config.file);
  };
  if (auto* tabular = std::get_if<TabularData>(&config.data.source)) {
    resolve(*tabular);
    for (std::string* path : {&tabular->validation_x, &tabular->validation_y, &tabular->test_x,
                              &tabular->test_y}) {
      *path = resolved_path(*path, config.file);
    }
  }
  if (auto* episodes = std::get_if<EpisodesData>(&config.data.source)) resolve(*episodes);
  if (auto* tokens = std::get_if<TokensData>(&config.data.source)) {
    for (auto* paths : {&tokens->path, &tokens->validation_path, &tokens->test_path}) {
      for (std::string& path : *paths) path = resolved_path(path, config.file);
    }
  }
}

// A preset is short for a policy: the resolved config has the policy alone.
void resolve_preset(Config& config) {
  config.gradient.remat.policy = resolved_policy(config);
  config.gradient.preset = Preset::none;
}

// A split with files of its own takes no share of the others. What is written counts all the same,
// and is refused if it contradicts.
void resolve_shares(Config& config) {
  const auto resolve = [&](const auto& files, const char* key, double& share) {
    if (!files.empty() && !config.origins.contains(key)) share = 0;
  };
  if (auto* tokens = std::get_if<TokensData>(&config.data.source)) {
    resolve(tokens->validation_path, "data.validation", tokens->validation);
    resolve(tokens->test_path, "data.test", tokens->test);
  }
  if (auto* tabular = std::get_if<TabularData>(&config.data.source)) {
    resolve(tabular->validation_x, "data.validation", tabular->validation);
    resolve(tabular->test_x, "data.test", tabular->test);
  }
}

// Derived defaults: those that depend on other keys.
void resolve_defaults(Config& config) {
  resolve_preset(config);
  if (config.meta.eval.steps.empty()) config.meta.eval.steps = {0, config.inner.steps};
  for (const MetaParameter& parameter : config.meta.parameters) {
    const bool starts_term = parameter.kind == MetaKind::l2 && !config.inner.l2;
    if (starts_term) config.inner.l2 = parameter.init;
  }
}

}  // namespace

std::string read_document(const std::string& path, const DocumentKind& kind) {
  const std::string what(kind.name);
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    throw UserError(path + ": cannot open the " + what + ": " + std::strerror(errno) +
                    "; check the path, which is relative to the current directory");
  }
  if (S_ISDIR(status.st_mode)) {
    throw UserError(path + ": is a directory; name a " + what + " file in it");
  }
  return read_text(path, SizeLimit{kMaxBytes, kind.name});
}

Config parse_config(const std::string& text, const std::string& name,
                    std::span<const std::string> overrides) {
  YamlNode root = parse_document(text, name);
  std::vector<std::string> idle = apply_overrides(root, overrides);
  Config config = read_config(root, name);
  config.warnings.insert(config.warnings.begin(), idle.begin(), idle.end());
  return config;
}

Config read_config(const YamlNode& root, const std::string& name) {
  check_causes(root);
  Config config;
  config.file = name;
  Loader(config).read_root(root);
  resolve_paths(config);
  resolve_shares(config);
  check_relations(config);
  resolve_defaults(config);
  return config;
}

Config load_config(const std::string& path, std::span<const std::string> overrides) {
  return parse_config(read_document(path), path, overrides);
}

void for_each_path(Config& config, const std::function<void(std::string&)>& visit) {
  if (auto* tabular = std::get_if<TabularData>(&config.data.source)) {
    for (std::string* path : {&tabular->x, &tabular->y, &tabular->validation_x,
                              &tabular->validation_y, &tabular->test_x, &tabular->test_y}) {
      visit(*path);
    }
  } else if (auto* episodes = std::get_if<EpisodesData>(&config.data.source)) {
    visit(episodes->x);
    visit(episodes->y);
  } else if (auto* tokens = std::get_if<TokensData>(&config.data.source)) {
    for (auto* paths : {&tokens->path, &tokens->validation_path, &tokens->test_path}) {
      for (std::string& path : *paths) visit(path);
    }
  }
}

Config with_absolute_paths(Config config) {
  for_each_path(config, [](std::string& path) {
    if (!path.empty()) path = std::filesystem::absolute(path).lexically_normal().string();
  });
  return config;
}

std::string origin(const Config& config, std::string_view path) {
  for (std::string around(path);;) {
    const auto found = config.origins.find(around);
    if (found != config.origins.end()) return found->second + ": " + std::string(path);
    if (around.empty()) return std::string(path);  // not read from text
    const std::size_t cut = around.find_last_of(".[");
    around.resize(cut == std::string::npos ? 0 : cut);
  }
}

}  // namespace mixflow
