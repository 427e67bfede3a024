// The schema for people and as JSON Schema.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "config/schema.h"
#include "util/text.h"

namespace mixflow {
namespace {

using nlohmann::json;

// The default of a key inside `owner`, a default struct whose kind is set.
ConfigValue fallback_of(const Key& key, const void* owner) {
  if (key.required) return {};
  return std::holds_alternative<std::monostate>(key.fallback) ? key.get(owner) : key.fallback;
}

std::vector<std::string> kinds_of(const std::vector<Key>& keys) {
  const Key* kind = find_kind(keys);
  if (kind == nullptr) return {""};
  const auto& names = std::get<ChoiceType>(kind->type).names;
  return {names.begin(), names.end()};
}

// Puts the default of a section's kind back once its other kinds have been looked at.
class WithKind {
 public:
  WithKind(const std::vector<Key>& keys, void* owner) : key_(find_kind(keys)), owner_(owner) {
    if (key_ != nullptr) before_ = key_->get(owner);
  }
  WithKind(const WithKind&) = delete;
  WithKind& operator=(const WithKind&) = delete;
  ~WithKind() {
    if (key_ != nullptr) key_->set(owner_, before_);
  }
  void set(const std::string& kind) {
    if (key_ != nullptr) key_->set(owner_, kind);
  }

 private:
  const Key* key_;
  void* owner_;
  ConfigValue before_;
};

void add_rows(const std::vector<Key>& keys, void* owner, const std::string& path,
              std::vector<SchemaRow>& rows) {
  WithKind with_kind(keys, owner);
  for (const Key& key : keys) {
    const std::string key_path = path.empty() ? key.name : path + "." + key.name;
    if (const auto* section = std::get_if<SectionType>(&key.type)) {
      add_rows(section->keys, section->at(owner), key_path, rows);
    } else if (const auto* list = std::get_if<ListType>(&key.type)) {
      add_rows(list->keys, list->append(owner), key_path + "[]", rows);
    } else if (key.kinds.empty()) {
      rows.push_back({key_path, &key, fallback_of(key, owner)});
    } else {
      with_kind.set(std::string(key.kinds[0]));
      rows.push_back({key_path, &key, fallback_of(key, owner)});
    }
  }
}

json json_value(const ConfigValue& value) {
  if (const auto* range = std::get_if<Range>(&value)) return *range;
  return std::visit(
      [](const auto& v) -> json {
        if constexpr (std::is_same_v<std::decay_t<decltype(v)>, std::monostate>) {
          return nullptr;
        } else {
          return v;
        }
      },
      value);
}

json number_json(const Interval& in) {
  json out = {{"type", "number"}};
  if (std::isfinite(in.low)) out[in.low_open ? "exclusiveMinimum" : "minimum"] = in.low;
  if (std::isfinite(in.high)) out[in.high_open ? "exclusiveMaximum" : "maximum"] = in.high;
  return out;
}

json integer_json(std::int64_t low, std::int64_t high) {
  return {{"type", "integer"}, {"minimum", low}, {"maximum", high}};
}

json section_json(const std::vector<Key>& keys, void* owner);

struct TypeJson {
  void* owner;
  json operator()(const TruthType&) const { return {{"type", "boolean"}}; }
  json operator()(const IntegerType& t) const { return integer_json(t.low, t.high); }
  json operator()(const NumberType& t) const { return number_json(t.in); }
  json operator()(const TextType& t) const {
    if (t.form == TextType::Form::column) {
      return {{"anyOf", {{{"type", "string"}, {"minLength", 1}}, {{"type", "integer"}}}}};
    }
    json out = {{"type", "string"}, {"minLength", 1}};
    if (t.form == TextType::Form::word) out["pattern"] = "^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$";
    return out;
  }
  json operator()(const TextsType& t) const {
    const json text = (*this)(TextType{t.form});
    return {{"anyOf", {text, {{"type", "array"}, {"items", text}}}}};
  }
  json operator()(const ChoiceType& t) const {
    json out = {{"enum", t.names}};
    // YAML's words for the truth are names too.
    if (std::ranges::find(t.names, "true") != t.names.end()) {
      out["enum"].push_back(true);
      out["enum"].push_back(false);
    }
    return out;
  }
  json operator()(const RangeType& t) const {
    return {{"type", "array"}, {"items", number_json(t.each)}, {"minItems", 2}, {"maxItems", 2}};
  }
  json operator()(const IntegersType& t) const {
    return {{"type", "array"}, {"items", integer_json(t.low, t.high)}};
  }
  json operator()(const SectionType& t) const { return section_json(t.keys, t.at(owner)); }
  json operator()(const ListType& t) const {
    return {{"type", "array"}, {"items", section_json(t.keys, t.append(owner))}, {"minItems", 1}};
  }
};

// One key under the kind that `owner` has.
json key_json(const Key& key, void* owner) {
  json out = std::visit(TypeJson{owner}, key.type);
  if (key.nullable) out = {{"anyOf", {out, {{"type", "null"}}}}};
  out["description"] = key.doc + (key.unit.empty() ? "" : " [" + key.unit + "]");
  const bool leaf = key.get != nullptr;
  if (!leaf || key.required) return out;
  const ConfigValue fallback = fallback_of(key, owner);
  if (!is_unset_text(fallback)) out["default"] = json_value(fallback);
  return out;
}

// The keys of a section under one kind, and nothing else.
json branch_json(const std::vector<Key>& keys, void* owner, const std::string& kind) {
  json properties = json::object();
  json required = json::array();
  for (const Key& key : keys) {
    if (!key.applies_to(kind)) continue;
    properties[key.name] = key_json(key, owner);
    if (key.required) required.push_back(key.name);
  }
  json out = {{"properties", properties}, {"additionalProperties", false}};
  if (!required.empty()) out["required"] = required;
  return out;
}

// Where a section has kinds: one branch for each, chosen by `kind`. The branch of the default kind
// also holds where `kind` is not written.
json section_json(const std::vector<Key>& keys, void* owner) {
  const Key* kind_key = find_kind(keys);
  if (kind_key == nullptr) {
    json out = branch_json(keys, owner, "");
    // "gradient:" with nothing below it is a section without keys.
    out["type"] = out.contains("required") ? json("object") : json{"object", "null"};
    return out;
  }
  WithKind with_kind(keys, owner);
  json out = {{"type", "object"}, {"properties", {{"kind", key_json(*kind_key, owner)}}}};
  if (kind_key->required) {
    out["required"] = json::array({"kind"});
  } else {
    out["type"] = {"object", "null"};
  }
  const auto fallback = std::get<std::string>(kind_key->get(owner));
  for (const std::string& kind : kinds_of(keys)) {
    json condition = {{"properties", {{"kind", {{"const", kind}}}}}};
    if (kind != fallback || kind_key->required) condition["required"] = json::array({"kind"});
    with_kind.set(kind);
    out["allOf"].push_back({{"if", condition}, {"then", branch_json(keys, owner, kind)}});
  }
  return out;
}

std::string default_text(const SchemaRow& row) {
  if (row.key->required) return "required";
  if (is_unset_text(row.fallback)) return "none";
  return yaml_text(row.fallback);
}

std::string type_text(const KeyType& type) {
  if (const auto* choice = std::get_if<ChoiceType>(&type)) return join(choice->names, " | ");
  if (std::holds_alternative<RangeType>(type)) return "[low, high]";
  if (std::holds_alternative<IntegersType>(type)) return "list of integers";
  if (std::holds_alternative<TextType>(type)) return "text";
  if (std::holds_alternative<TextsType>(type)) return "text or list of texts";
  std::string text = expectation(type);
  for (const std::string_view article : {"a ", "an "}) {
    if (text.starts_with(article)) return text.substr(article.size());
  }
  return text;
}

}  // namespace

std::vector<SchemaRow> schema_rows() {
  Config defaults;
  std::vector<SchemaRow> rows;
  add_rows(schema(), &defaults, "", rows);
  return rows;
}

std::string schema_text() {
  const std::vector<SchemaRow> rows = schema_rows();
  std::size_t widest = 0;
  for (const SchemaRow& row : rows) widest = std::max(widest, row.path.size());
  std::string out;
  std::string section;
  for (const SchemaRow& row : rows) {
    const std::string here = row.path.substr(0, row.path.find('.'));
    if (!section.empty() && here != section && row.path.find('.') != std::string::npos) out += "\n";
    section = here;
    out += row.path + std::string(widest + 2 - row.path.size(), ' ') + row.key->doc;
    if (!row.key->unit.empty()) out += " [" + row.key->unit + "]";
    out += "\n" + std::string(widest + 2, ' ') + type_text(row.key->type) + "; " +
           (row.key->required ? "required" : "default " + default_text(row));
    if (!row.key->kinds.empty()) out += "; for kind " + join(row.key->kinds, ", ");
    out += "\n";
  }
  return out;
}

nlohmann::json json_schema() {
  Config defaults;
  json out = section_json(schema(), &defaults);
  out["$schema"] = "https://json-schema.org/draft/2020-12/schema";
  out["title"] = "mixflow experiment";
  return out;
}

}  // namespace mixflow
