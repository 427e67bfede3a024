// The messages themselves: tests/errors holds one bad configuration per message and messages.txt
// what each of them says; the rest are messages that need no file of their own.
#include <doctest/doctest.h>
#include <sys/resource.h>

#include <ctime>
#include <set>
#include <sstream>
#include <utility>

#include "../util/testing.h"
#include "config_texts.h"

using namespace mixflow;

namespace {

const std::filesystem::path kErrors = std::filesystem::path(MIXFLOW_SOURCE_DIR) / "tests/errors";

// The files of the loader are numbered below 70, and 100 to 119; the others need data files too.
bool is_loader_file(const std::string& name) {
  if (!name.ends_with(".yaml")) return false;
  const int number = std::stoi(name);
  return number < 70 || (number >= 100 && number < 120);
}

std::vector<std::string> expected_messages() {
  std::vector<std::string> messages;
  std::istringstream stream(read_text(kErrors / "messages.txt"));
  for (std::string line; std::getline(stream, line);) {
    if (is_loader_file(line.substr(0, line.find(':')))) messages.push_back(line);
  }
  return messages;
}

}  // namespace

TEST_CASE("every bad configuration gives its message, with the place and the way out") {
  const std::string folder = kErrors.string() + "/";
  std::size_t checked = 0;
  for (const std::string& expected : expected_messages()) {
    const std::string file = expected.substr(0, expected.find(':'));
    CAPTURE(file);
    std::string message = "it loads";
    try {
      load_config(folder + file);
    } catch (const UserError& error) {
      message = error.what();
    }
    CHECK(message == folder + expected);
    ++checked;
  }
  CHECK(checked >= 85);
}

TEST_CASE("every bad configuration has its message in messages.txt, and no message appears twice") {
  std::set<std::string> listed, files, texts;
  for (const std::string& expected : expected_messages()) {
    listed.insert(expected.substr(0, expected.find(':')));
    // What follows "file:line:column: " must differ by itself.
    const std::string text = expected.substr(expected.find(": ") + 2);
    CAPTURE(text);
    CHECK(texts.insert(text).second);
  }
  for (const auto& entry : std::filesystem::directory_iterator(kErrors)) {
    const std::string name = entry.path().filename().string();
    if (is_loader_file(name)) files.insert(name);
  }
  CHECK(listed == files);
}

TEST_CASE("rules between keys say which keys and what to change") {
  const std::string tabular = "model: {kind: mlp}\nmeta: {parameters: [{kind: lr}]}\n";
  const std::string learn = "data: {kind: sinusoid}\nmodel: {kind: mlp}\n";
  const std::pair<std::string, std::string> cases[] = {
      {tabular + "data: {kind: tabular, x: a.csv}\n",
       "c.yaml:3:7: data.target_column: missing; it is the column of x that holds the targets, by "
       "name or by number, -1 for the last; or name a file of targets with y"},
      {tabular + "data: {kind: tabular, x: a.csv, y: b.npy, target_column: y}\n",
       "c.yaml:3:58: data.target_column: the targets are in y, which has no columns by name; "
       "remove target_column or y"},
      {tabular + "data: {kind: tabular, x: a.npy}\n",
       "c.yaml:3:7: data.y: missing; it is the file of targets that belongs to x"},
      {tabular + "data: {kind: tabular, x: a.npy, target_column: y}\n",
       "c.yaml:3:48: data.target_column: only a table of text has columns by name; name a file "
       "of targets with y"},
      {tabular + "data: {kind: episodes, x: a.npy, y: b.npy, train_classes: [0, 1, 2, 3, 4]}\n",
       "c.yaml:3:59: data.train_classes: given without validation_classes; give both or neither"},
      {tabular + "data: {kind: episodes, x: a.npy, y: b.npy, test_classes: [0, 1, 2, 3, 4]}\n",
       "c.yaml:3:58: data.test_classes: given without train_classes and validation_classes; give "
       "those too or none"},
      {tabular +
           "data: {kind: episodes, x: a.npy, y: b.npy, train_classes: [0], validation_classes: "
           "[1]}\n",
       "c.yaml:3:59: data.train_classes: lists 1 classes, but tasks have data.ways 5; list more "
       "or lower ways"},
      {tabular + "data: {kind: episodes, x: a.npy, y: b.npy}\ninner: {loss: bce}\n",
       "c.yaml:4:15: inner.loss: bce tells two classes apart, but data.ways is 5; set inner.loss: "
       "cross_entropy"},
      {tabular + "data: {kind: tabular, x: a.npy, y: b.npy, target: regression}\n"
                 "inner: {loss: bce}\n",
       "c.yaml:4:15: inner.loss: bce needs classes, but data.kind tabular has real targets; set "
       "inner.loss: mse"},
      {learn + "meta: {parameters: [{kind: l2}]}\n",
       "c.yaml:3:21: meta.parameters[0]: l2 has no start; set inner.l2, or init here"},
      {learn + "meta: {parameters: [{kind: l2, init: 1}]}\ngradient: {mode: first_order}\n",
       "c.yaml:3:28: meta.parameters[0].kind: l2 acts through the inner gradient, which "
       "gradient.mode first_order holds constant, so its meta-gradient would be zero; set "
       "gradient.mode: mixed"},
      {learn + "meta: {parameters: [{kind: beta1, init: 1}]}\ninner: {optimizer: {kind: adam}}\n",
       "c.yaml:3:41: meta.parameters[0].init: beta1 cannot start at 1; it needs a number in [0, "
       "1)"},
      {learn + "meta: {parameters: [{kind: lr, init: -1}]}\n",
       "c.yaml:3:38: meta.parameters[0].init: lr cannot start at -1; it needs a number >= 0"},
      {learn + "meta: {parameters: [{kind: weight_decay, transform: softplus}]}\n"
               "inner: {optimizer: {kind: adamw}}\n",
       "c.yaml:3:21: meta.parameters[0]: weight_decay cannot start at 0 with transform softplus, "
       "whose values lie in (0, .inf); set init to one of them"},
      {learn + "meta: {parameters: [{kind: lr, bounds: [0.1, 1]}]}\n",
       "c.yaml:3:40: meta.parameters[0].bounds: lr starts at 0.01, outside of [0.1, 1]; widen the "
       "bounds or change init"},
      {learn + "meta: {parameters: [{kind: init}], steps: 5, schedule: {warmup: 9}}\n",
       "c.yaml:3:65: meta.schedule.warmup: a warm-up of 9 meta-steps is longer than the training, "
       "meta.steps 5"},
      {learn + "meta: {parameters: [{kind: init}], eval: {steps: [0, 1, 1]}}\n",
       "c.yaml:3:50: meta.eval.steps: 1 is listed twice; list each number once"},
  };
  for (const auto& [text, expected] : cases) CHECK(load_error(text) == expected);
}

TEST_CASE("malformed YAML is explained in words of the file") {
  const std::pair<std::string, std::string> cases[] = {
      {"name: 'one\n" + kLeast,
       "c.yaml:1:7: name: the quote that opens here does not close on this line"},
      {"<<: 3\n" + kLeast, "c.yaml:1:1: \"<<\" merges a map, such as an alias of one (<<: *name)"},
      {": 1\n" + kLeast, "c.yaml:1:1: a key is missing before \":\"; keys are plain words"},
      {"data:\n  kind: sinusoid\n shots: 3\n",
       "c.yaml:3:2: wrong indentation; keys of one section start in one column"},
      {"name: \"\\q\"\n" + kLeast, "c.yaml:1:10: not valid YAML: unknown escape character: q"},
      {"inner: &a {l2: 1}\nmodel: {<<: *a, kind: mlp}\n",
       "c.yaml:1:12: model.l2: unknown key; another section has inner.l2 (h of the term 1/2 sum h w^2 of "
       "the inner loss; null: no such term); keys here: kind, hidden, activation, bias, init, size, "
       "vocab, d_model, ffw, heads, kv_size, layers"},
      {"name: null\n" + kLeast,
       "c.yaml:1:1: name: expected a name of letters, digits, \".\", \"_\" and \"-\", got nothing "
       "(names the run and its directory; default run)"},
      {"data: {kind: sinusoid, phase: [0, fast]}\n",
       "c.yaml:1:35: data.phase[1]: expected a number, got \"fast\" (phase of y = A sin(w x - "
       "phase), in radians; default [0, 3.141592653589793])"},
  };
  for (const auto& [text, expected] : cases) CHECK(load_error(text) == expected);
  const std::string deep = load_error(kLeast + "seed: " + std::string(5000, '['));
  CHECK(deep.find("nested deeper than 32 levels") != std::string::npos);
}

TEST_CASE("a missing file, a directory and a file that is too large are told apart") {
  const auto message = [](const std::string& path) {
    try {
      load_config(path);
    } catch (const UserError& error) {
      return std::string(error.what());
    }
    return std::string("it loads");
  };
  const auto folder = std::filesystem::temp_directory_path() / "mixflow_errors_test";
  std::filesystem::create_directories(folder);
  const std::string missing = (folder / "none.yaml").string();
  CHECK(message(missing) == missing +
                                ": cannot open the config: No such file or directory; check the "
                                "path, which is relative to the current directory");
  CHECK(message(folder.string()) == folder.string() + ": is a directory; name a config file in it");
  const std::string large = (folder / "large.yaml").string();
  std::ofstream(large) << std::string((1 << 20) + 1, '#');
  CHECK(message(large) == large + ": larger than 1.0 MiB, which no config is; check the path");
  const std::string locked = (folder / "locked.yaml").string();
  std::ofstream(locked) << kLeast;
  std::filesystem::permissions(locked, std::filesystem::perms::none);
  // The superuser may read it all the same.
  if (!std::ifstream(locked)) {
    CHECK(message(locked) == locked + ": may not be read (permission denied)");
  } else {
    CHECK(message(locked) == "it loads");
  }
  std::filesystem::remove_all(folder);
}

TEST_CASE("a config of a megabyte takes little memory and time, whatever it holds") {
  const auto repeated = [](const std::string& piece) {
    std::string text;
    while (text.size() < 1'000'000) text += piece;
    return text;
  };
  const auto refusal = [](const std::string& text) {
    return message_of<UserError>([&] { parse_config(text, "c.yaml", {}); });
  };
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_DATA, &before) == 0);
  rlimit tight = before;
  tight.rlim_cur = 128 << 20;
  if (kThorough) REQUIRE(::setrlimit(RLIMIT_DATA, &tight) == 0);
  const std::clock_t start = std::clock();
  for (const std::string piece : {"[", "{", "[{", "- ", "? ", "a,", "\n\"a\",", "*a ", "&a ", ": ",
                                  "'", "\"", "!a ", "---\n", "#\n", "\n", "a: \n", "{a: "}) {
    CAPTURE(piece);
    CHECK(refusal(repeated(piece)) != "(nothing was thrown)");
  }
  // Quotes are looked up in their line: not by walking over all lines before it.
  std::string quotes = repeated("\n").substr(0, 900'000) + "a: [";
  for (int i = 0; i < 9'000; ++i) quotes += "\"b\",";
  CHECK(refusal(quotes + "]").find("unknown key") != std::string::npos);
  // Aliases of one long text.
  std::string aliases = "a: &x " + repeated("b").substr(0, 800'000) + "\nb: [";
  for (int i = 0; i < 9'000; ++i) aliases += "*x,";
  CHECK(refusal(aliases + "]").find("more than 4.0 MiB of text once aliases are expanded") !=
        std::string::npos);
  CHECK(refusal("a: " + repeated("[")).find("c.yaml:1:1: more than 10000 brackets") == 0);
  ::setrlimit(RLIMIT_DATA, &before);
  CHECK((std::clock() - start) / CLOCKS_PER_SEC < 30);  // of the processor; here 2
}

TEST_CASE("a path of an override is as deep as keys lie") {
  std::string path = "a";
  for (int i = 0; i < 60'000; ++i) path += ".a";
  CHECK(message_of<UserError>([&] {
          const std::vector<std::string> overrides = {path + "=1"};
          parse_config(kLeast, "c.yaml", overrides);
        }).ends_with("no key lies deeper than 32 levels"));
}

TEST_CASE("no damage to a configuration crashes the loader") {
  // Deterministic mutations: bytes replaced, removed, doubled; lines shuffled.
  std::uint32_t state = 1;
  const auto random = [&](std::size_t n) {
    state = state * 1664525U + 1013904223U;
    return static_cast<std::size_t>(state >> 8) % n;
  };
  const std::string bytes = "\t\n :-[]{}&*!|>'\"%@`#,?0.eE~\xff";
  std::size_t refused = 0;
  for (const auto& path : shipped_configs()) {
    const std::string original = read_text(path);
    for (int round = 0; round < 150; ++round) {
      std::string text = original;
      for (std::size_t edits = 1 + random(4); edits > 0; --edits) {
        const std::size_t at = random(text.size());
        switch (random(4)) {
          case 0:
            text[at] = bytes[random(bytes.size())];
            break;
          case 1:
            text.erase(at, 1 + random(5));
            break;
          case 2:
            text.insert(at, 1, bytes[random(bytes.size())]);
            break;
          default:
            text.insert(at, text.substr(random(text.size()), random(30)));
            break;
        }
      }
      const std::string message = load_error(text);  // anything but a UserError fails the test
      if (message.empty()) continue;
      ++refused;
      CHECK(message.starts_with("c.yaml:"));
    }
  }
  CHECK(refused > 100);
}
