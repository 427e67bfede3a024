#include "data/content.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "config/paths.h"
#include "data/array.h"
#include "util/content_hash.h"
#include "util/error.h"

namespace mixflow {

std::vector<DataContent> data_contents(const Config& config, const DataFacts& facts) {
  std::vector<DataContent> contents;
  const auto add = [&](const std::string& path) {
    const std::string file = split_member(path).first;
    const bool known = std::ranges::find(contents, file, &DataContent::path) != contents.end();
    if (file.empty() || known) return;
    ContentHash hash;
    const std::int64_t bytes = add_file(file, hash);
    contents.push_back({.path = file, .bytes = bytes, .hash = hash.digits()});
  };
  for (const DataFacts::File& file : facts.files) add(file.path);
  Config copy = config;
  if (facts.files.empty()) for_each_path(copy, add);
  return contents;
}

std::string to_json(const std::vector<DataContent>& contents) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const DataContent& c : contents)
    json.push_back({{"path", c.path}, {"bytes", c.bytes}, {"hash", c.hash}});
  return json.dump();
}

std::vector<DataContent> parse_contents(const std::string& text) {
  try {
    std::vector<DataContent> contents;
    for (const nlohmann::json& c : nlohmann::json::parse(text))
      contents.push_back({c.at("path"), c.at("bytes"), c.at("hash")});
    return contents;
  } catch (const nlohmann::json::exception&) {
    throw UserError("not a list of data files");
  }
}

}  // namespace mixflow
