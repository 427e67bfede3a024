// Which files a config reads, and that a change of any byte is noticed.
#include "data/content.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "../util/testing.h"
#include "config/load.h"
#include "data/source.h"
#include "util/error.h"
#include "util/file.h"

using namespace mixflow;

namespace {

namespace fs = std::filesystem;

Config text_config(const std::string& path) {
  return parse_config("data: {kind: text, path: " + path +
                          ", sequence: 4, batch: 1}\n"
                          "model: {kind: transformer, vocab: 256, d_model: 4, ffw: 4, heads: 1, "
                          "kv_size: 2, layers: 1}\n"
                          "meta: {parameters: [{kind: init}]}\n",
                      "c.yaml");
}

}  // namespace

TEST_CASE("the content of a directory is that of the files that its source reads") {
  const TemporaryDirectory directory;
  fs::create_directories(directory.path / "text/sub");
  write_atomically(directory / "text/a.txt", std::string(400, 'a'));
  write_atomically(directory / "text/sub/b.txt", std::string(300, 'b'));
  const Config config = text_config(directory / "text");
  const auto contents = [&] { return data_contents(config, make_source(config)->facts()); };
  const std::vector<DataContent> was = contents();
  REQUIRE(was.size() == 2);
  CHECK(was[0].bytes == 400);
  CHECK(was[1].bytes == 300);
  CHECK(parse_contents(to_json(was)) == was);
  write_atomically(directory / "text/.hidden", "x");
  CHECK(contents() == was);
  write_atomically(directory / "text/sub/b.txt", std::string(299, 'b') + "c");
  CHECK(contents()[0] == was[0]);
  CHECK(contents()[1] != was[1]);
}

TEST_CASE("a config without files has no content, and a file of several members counts once") {
  const Config drawn = parse_config(
      "data: {kind: sinusoid}\nmodel: {kind: mlp}\nmeta: {parameters: [{kind: init}]}\n", "c.yaml");
  CHECK(data_contents(drawn, {}).empty());
  const TemporaryDirectory directory;
  write_atomically(directory / "d.npz", "not read as arrays here");
  const std::string file = directory / "d.npz";
  const Config members = parse_config("data: {kind: tabular, x: '" + file + ":x', y: '" + file +
                                          ":y'}\nmodel: {kind: mlp}\ninner: {loss: cross_entropy}\n"
                                          "meta: {parameters: [{kind: lr}]}\n",
                                      "c.yaml");
  const std::vector<DataContent> contents = data_contents(members, {});
  REQUIRE(contents.size() == 1);
  CHECK(contents[0].path == file);
  CHECK(contents[0].bytes == 23);
  CHECK_THROWS_AS(parse_contents("[{}]"), UserError);
}
