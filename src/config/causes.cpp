#include "config/causes.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <variant>

#include "config/schema.h"

namespace mixflow {
namespace {

const YamlNode* child(const YamlNode* node, std::string_view key) {
  if (node == nullptr || node->kind != YamlNode::Kind::map) return nullptr;
  const YamlEntry* entry = node->find(key);
  return entry == nullptr ? nullptr : &entry->value;
}

std::string_view text_of(const YamlNode* node) {
  return node != nullptr && node->kind == YamlNode::Kind::scalar ? std::string_view(node->text)
                                                                 : std::string_view();
}

// Whether `kind` is a kind of data, but none of tokens.
bool is_data_without_tokens(std::string_view kind) {
  const auto data = std::ranges::find(schema(), "data", &Key::name);
  const Key& key = *find_kind(std::get<SectionType>(data->type).keys);
  const auto& names = std::get<ChoiceType>(key.type).names;
  if (std::ranges::find(names, kind) == names.end()) return false;
  DataConfig config;
  key.set(&config, std::string(kind));
  return !std::holds_alternative<TokensData>(config.source);
}

// The network that scores examples reads tokens: neither another network nor another granularity
// makes it read points.
void check_loss_weights(const YamlNode& root) {
  const std::string_view data = text_of(child(child(&root, "data"), "kind"));
  const YamlNode* parameters = child(child(&root, "meta"), "parameters");
  if (parameters == nullptr || !is_data_without_tokens(data)) return;
  for (std::size_t i = 0; i < parameters->items.size(); ++i) {
    const YamlNode* kind = child(&parameters->items[i], "kind");
    if (text_of(kind) != "loss_weights") continue;
    fail_at(kind->place, item_path("meta.parameters", i) + ".kind",
            "loss_weights weighs sequences of tokens, by the scores of a transformer; data.kind " +
                std::string(data) +
                " has none, and weights of its examples cannot be learned. Remove it, or set "
                "data.kind to text, tokens or random_tokens");
  }
}

}  // namespace

void check_causes(const YamlNode& root) { check_loss_weights(root); }

}  // namespace mixflow
