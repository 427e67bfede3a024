#include "train/identity.h"

#include <filesystem>

#include "config/load.h"
#include "config/paths.h"
#include "kernels/cpu.h"
#include "util/content_hash.h"
#include "util/error.h"

namespace mixflow {

std::string comparable_settings(const Config& config) {
  Config copy = config;
  copy.threads = 0;
  copy.meta.checkpoint_every = MetaConfig{}.checkpoint_every;
  copy.meta.checkpoint_minutes = MetaConfig{}.checkpoint_minutes;
  copy.gradient.bf16_check = GradientConfig{}.bf16_check;
  for_each_path(copy,
                [](std::string& path) { path = std::filesystem::path(path).filename().string(); });
  return dump_config(copy);
}

Identity identity_of(const Config& config, const DataFacts& facts) {
  const CpuInfo cpu = cpu_info();
  Identity identity{.settings = hash_of_text(comparable_settings(config)),
                    .data = data_contents(config, facts),
                    .mixflow = MIXFLOW_VERSION,
                    .kernels = cpu.kernels,
                    .onednn = cpu.onednn};
  if (config.precision == Precision::bf16) identity.kernels += " " + cpu.bf16_kernels;
  return identity;
}

std::map<std::string, std::string> to_metadata(const Identity& identity) {
  return {{"settings", identity.settings},
          {"data", to_json(identity.data)},
          {"mixflow", identity.mixflow},
          {"kernels", identity.kernels},
          {"onednn", identity.onednn}};
}

Identity parse_identity(const std::map<std::string, std::string>& metadata) {
  const auto text = [&](const char* key) {
    const auto found = metadata.find(key);
    if (found == metadata.end()) throw UserError(std::string("it has no \"") + key + "\"");
    return found->second;
  };
  return {.settings = text("settings"),
          .data = parse_contents(text("data")),
          .mixflow = text("mixflow"),
          .kernels = text("kernels"),
          .onednn = text("onednn")};
}

std::vector<std::string> differences(const Identity& saved, const Identity& now,
                                     const std::string& checkpoint) {
  if (saved.settings != now.settings) {
    throw UserError(checkpoint +
                    ": belongs to a run with other settings than config.yaml's: put back that "
                    "run's config.yaml, or delete the checkpoint");
  }
  if (saved.data.size() != now.data.size()) {
    throw UserError(checkpoint + ": was made from " + std::to_string(saved.data.size()) +
                    " data files, now there are " + std::to_string(now.data.size()) +
                    ": put them back, or start anew with another --out");
  }
  // In the order in which they are read; paths may have moved.
  for (std::size_t i = 0; i < now.data.size(); ++i) {
    const DataContent &was = saved.data[i], &is = now.data[i];
    if (was.hash == is.hash && was.bytes == is.bytes) continue;
    const std::string how = was.bytes == is.bytes ? "its content"
                                                  : "it had " + std::to_string(was.bytes) +
                                                        " bytes, now " + std::to_string(is.bytes);
    throw UserError(is.path + ": has changed since the run began (" + how +
                    "), so that its results would be of neither data: put the data back, or start "
                    "anew with another --out. (" +
                    checkpoint + " was made from the old data)");
  }
  std::vector<std::string> told;
  const auto compare = [&](const char* what, const std::string& was, const std::string& is) {
    if (was != is) told.push_back(std::string(what) + " " + is + " instead of " + was);
  };
  compare("mixflow", saved.mixflow, now.mixflow);
  compare("kernels for", saved.kernels, now.kernels);
  compare("oneDNN", saved.onednn, now.onednn);
  return told;
}

}  // namespace mixflow
