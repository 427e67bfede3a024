#include "config/schema.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "config_texts.h"

using namespace mixflow;
using nlohmann::json;

namespace {

// Every property's path in a JSON Schema, with its defaults (one per kind).
void collect(const json& node, const std::string& path,
             std::map<std::string, std::set<json>>& found) {
  if (node.contains("properties")) {
    for (const auto& [name, property] : node["properties"].items()) {
      if (property.contains("const")) continue;  // a condition
      const std::string key = path.empty() ? name : path + "." + name;
      found[key].insert(property.contains("default") ? property["default"] : json());
      CAPTURE(key);
      CHECK_FALSE(property.value("description", "").empty());
      collect(property, key, found);
      if (property.contains("items")) collect(property["items"], key + "[]", found);
    }
  }
  for (const json& branch : node.value("allOf", json::array())) {
    collect(branch["then"], path, found);
  }
}

// What `data` says after "kind: ": the kind, and the keys that it cannot do without.
std::string data_section(const std::string& kind) {
  if (kind == "tabular" || kind == "episodes") return kind + ", x: x.npy, y: y.npy";
  return kind == "tokens" ? kind + ", path: ids.npy" : kind;
}

bool has_tokens(const std::string& data) {
  return data == "text" || data == "tokens" || data == "random_tokens";
}

// A configuration in which the section of `row` has the first kind that `row` applies to.
std::string text_for(const SchemaRow& row) {
  const std::string section = row.path.substr(0, row.path.rfind('.'));
  const auto pick = [&](const std::string& of, const std::string& otherwise) {
    return of == section && !row.key->kinds.empty() ? std::string(row.key->kinds[0]) : otherwise;
  };
  const std::string transformer = "{kind: transformer, size: 44M}";
  const bool scorer = section == "meta.parameters[].model";
  const std::string parameter = pick("meta.parameters[]", scorer ? "loss_weights" : "lr");
  const bool tokens = pick("model", "mlp") == "transformer" || parameter == "loss_weights" ||
                      has_tokens(pick("data", ""));
  const std::string data = pick("data", tokens ? "random_tokens" : "sinusoid");
  return "data: {kind: " + data_section(data) +
         "}\nmodel: " + (tokens ? transformer : "{kind: mlp}") +
         "\ninner: {loss: " + (data == "sinusoid" ? "mse" : "cross_entropy") +
         ", optimizer: {kind: " + pick("inner.optimizer", "sgd") +
         "}}\nmeta: {parameters: [{kind: " + parameter +
         (parameter == "loss_weights" ? ", model: " + transformer : "") +
         "}], optimizer: {kind: " + pick("meta.optimizer", "adam") +
         "}, schedule: {kind: " + pick("meta.schedule", "constant") + "}}\n";
}

}  // namespace

TEST_CASE("writing a default out changes nothing, so the schema's defaults are those of Config") {
  std::size_t checked = 0;
  for (const SchemaRow& row : schema_rows()) {
    const auto* text = std::get_if<std::string>(&row.fallback);
    const bool unset = row.key->required || (text != nullptr && text->empty());
    if (unset || row.key->name == "kind") continue;
    std::string path = row.path;
    if (const auto item = path.find("[]"); item != std::string::npos) path.replace(item, 2, "[0]");
    const std::vector<std::string> overrides = {path + "=" + yaml_text(row.fallback)};
    CAPTURE(overrides[0]);
    const std::string base = text_for(row);
    CHECK(same_settings(parse_config(base, "c.yaml", overrides), parse_config(base, "c.yaml")));
    ++checked;
  }
  CHECK(checked > 90);
}

TEST_CASE("defaults of kind are the kinds of Config") {
  std::map<std::string, ConfigValue> kinds;
  for (const SchemaRow& row : schema_rows()) {
    if (row.key->name == "kind" && !row.key->required) kinds[row.path] = row.fallback;
  }
  const std::map<std::string, ConfigValue> expected = {
      {"inner.optimizer.kind", std::string("sgd")},
      {"meta.optimizer.kind", std::string("adam")},
      {"meta.schedule.kind", std::string("constant")}};
  CHECK(kinds == expected);
}

TEST_CASE("the JSON Schema lists every key with its default and a description, and no other") {
  const json schema_json = json::parse(json_schema().dump());
  CHECK(schema_json["$schema"] == "https://json-schema.org/draft/2020-12/schema");
  std::map<std::string, std::set<json>> found;
  collect(schema_json, "", found);
  std::set<std::string> keys;
  for (const SchemaRow& row : schema_rows()) {
    CAPTURE(row.path);
    keys.insert(row.path);
    REQUIRE(found.contains(row.path));
    const auto* number = std::get_if<double>(&row.fallback);
    if (number != nullptr) CHECK(found[row.path].contains(json(*number)));
    const auto* integer = std::get_if<std::int64_t>(&row.fallback);
    if (integer != nullptr) CHECK(found[row.path].contains(json(*integer)));
  }
  // What else it lists are the sections.
  for (const auto& entry : found) {
    const std::string& path = entry.first;
    CAPTURE(path);
    const bool section = std::ranges::any_of(keys, [&](const std::string& key) {
      return key.starts_with(path + ".") || key.starts_with(path + "[].");
    });
    CHECK((section || keys.contains(path)));
  }
}

TEST_CASE("the JSON Schema closes every section and ties keys to their kind") {
  const json optimizer = json_schema()["properties"]["inner"]["properties"]["optimizer"];
  REQUIRE(optimizer["allOf"].size() == 6);
  for (const json& branch : optimizer["allOf"]) {
    const std::string kind = branch["if"]["properties"]["kind"]["const"];
    CAPTURE(kind);
    CHECK(branch["then"]["additionalProperties"] == false);
    CHECK(branch["then"]["properties"].contains("beta1") == (kind == "adam" || kind == "adamw"));
    // The default kind also holds where none is written.
    CHECK(branch["if"].contains("required") == (kind != "sgd"));
  }
  CHECK(json_schema()["additionalProperties"] == false);
  CHECK(json_schema()["required"] == json{"data", "model", "meta"});
}

TEST_CASE("the printed schema has each key with type, default and documentation") {
  const std::string text = schema_text();
  for (const SchemaRow& row : schema_rows()) {
    CAPTURE(row.path);
    CHECK(("\n" + text).find("\n" + row.path + " ") != std::string::npos);
    CHECK(text.find(row.key->doc) != std::string::npos);
  }
  CHECK(text.find("number in [0, 1); default 0.9; for kind rmsprop") != std::string::npos);
}

TEST_CASE("documentation is one line and kinds exist") {
  for (const SchemaRow& row : schema_rows()) {
    CAPTURE(row.path);
    CHECK(row.key->doc.find('\n') == std::string::npos);
    CHECK(row.key->doc.size() <= 100);
    if (row.key->kinds.empty()) continue;
    const std::string section = row.path.substr(0, row.path.rfind('.'));
    bool found_kind = false;
    for (const SchemaRow& kind : schema_rows()) {
      if (kind.path != section + ".kind") continue;
      found_kind = true;
      const auto& names = std::get<ChoiceType>(kind.key->type).names;
      for (const auto name : row.key->kinds) CHECK(std::ranges::find(names, name) != names.end());
    }
    CHECK(found_kind);
  }
}
