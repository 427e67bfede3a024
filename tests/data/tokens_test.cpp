#include "data/tokens.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "../util/testing.h"
#include "batches.h"
#include "util/error.h"

namespace mixflow {
namespace {

// Ids 0, 1, 2, .. of one file, so that a token tells its place in the stream.
struct TokenFiles {
  TemporaryDirectory directory;
  Config config;

  explicit TokenFiles(std::int64_t tokens = 1000, int vocab = 1000) {
    config.file = "a.yaml";
    config.origins[""] = config.file;
    config.inner.loss = Loss::cross_entropy;
    config.data.kind = "tokens";
    config.data.source = TokensData{
        .path = {directory / "ids.npy"}, .sequence = 7, .batch = 3, .validation = 0.2, .test = 0.1};
    config.model = TransformerModel{.vocab = vocab};
    std::vector<std::int32_t> ids;
    for (std::int32_t id = 0; id < tokens; ++id) ids.push_back(id);
    write_atomically(directory / "ids.npy",
                     npy("<i4", "(" + std::to_string(tokens) + ",)", raw(ids)));
  }
  TokensData& data() { return std::get<TokensData>(config.data.source); }
  void write(const std::string& name, const std::string& content) {
    write_atomically(directory / name, content);
    data().path = {directory / name};
  }
  std::unique_ptr<TaskSource> source() const { return make_source(config); }
  std::string refusal() const {
    return message_of<UserError>([&] { source(); });
  }
};

// The examples of a batch, of `length` tokens each.
std::vector<Numbers> examples(const Numbers& tokens, std::size_t length) {
  std::vector<Numbers> result;
  REQUIRE(tokens.size() % length == 0);
  for (auto at = tokens.begin(); at != tokens.end(); at += static_cast<std::ptrdiff_t>(length)) {
    result.emplace_back(at, at + static_cast<std::ptrdiff_t>(length));
  }
  return result;
}

bool consecutive(const Numbers& example) {
  for (std::size_t i = 1; i < example.size(); ++i) {
    if (example[i] != example[i - 1] + 1) return false;
  }
  return true;
}

// Where windows begin; each must be a window.
std::set<double> starts(const Numbers& tokens, std::size_t length) {
  std::set<double> result;
  for (const Numbers& example : examples(tokens, length)) {
    CHECK(consecutive(example));
    result.insert(example[0]);
  }
  return result;
}

Numbers prefix(const Numbers& numbers, std::size_t count) {
  return {numbers.begin(), numbers.begin() + static_cast<std::ptrdiff_t>(count)};
}

TEST_CASE("a source of tokens tells its sizes: one field of sequence + 1 tokens") {
  TokenFiles files;
  auto source = files.source();
  REQUIRE(source->fields().size() == 1);
  CHECK(source->fields()[0].name == "tokens");
  CHECK(source->fields()[0].dtype == DType::i32);
  CHECK(source->fields()[0].shape == Shape{8});
  CHECK(source->inner_batch() == 3);
  CHECK(source->outer_batch(Split::train) == 3);
  CHECK(source->output_width() == 1000);
  CHECK_FALSE(source->same_batch_every_step());
  files.data().outer_batch = 5;
  CHECK(files.source()->outer_batch(Split::test) == 5);
}

TEST_CASE("windows lie inside their split and begin everywhere in it") {
  // train 0..699, validation 700..899, test 900..999; a window has 8 tokens
  const auto source = TokenFiles().source();
  const Batches train = fill(*source, Split::train, 0, 40, 100),
                validation = fill(*source, Split::validation, 0, 2000, 1),
                test = fill(*source, Split::test, 0, 2000, 1);
  const auto check = [](const Numbers& tokens, double first, double last) {
    const std::set<double> seen = starts(tokens, 8);
    CHECK(*seen.begin() == first);
    CHECK(*seen.rbegin() == last - 7);
    CHECK(static_cast<double>(seen.size()) == last - 7 - first + 1);
  };
  check(train.inner[0], 0, 699);
  check(validation.outer[0], 700, 899);
  check(test.outer[0], 900, 999);
  CHECK(*starts(validation.inner[0], 8).rbegin() <= 692);
  CHECK(*starts(test.inner[0], 8).rbegin() <= 692);
  CHECK(*starts(train.outer[0], 8).begin() >= 700);
  CHECK(*starts(train.outer[0], 8).rbegin() <= 892);
}

TEST_CASE("a window as long as its split is the split") {
  TokenFiles files(100);
  files.data().sequence = 9;
  const Batches batches = fill(*files.source(), Split::test, 3, 2, 2);
  CHECK(starts(batches.outer[0], 10) == std::set<double>{90});
}

TEST_CASE("each file of a text is cut by its own length, and files follow each other by name") {
  TokenFiles files;
  files.config.data.kind = "text";
  // Every byte tells its file and its split: 8, 1 and 1 of ten; then 6, 0 and 0 of six, where a
  // share of 0.6 tokens is none.
  const std::filesystem::path text = files.directory.path / "text";
  std::filesystem::create_directories(text / "b");
  write_atomically(text / "a.txt", "aaaaaaaaAB");
  write_atomically(text / "b" / "x.txt", std::string(80, 'x') + "YYYYYYYYYYZZZZZZZZZZ");
  write_atomically(text / "c.txt", "cccccc");
  std::filesystem::create_symlink("a.txt", text / "link.txt");
  files.data() = {
      .path = {text.string()}, .sequence = 10, .batch = 2000, .validation = 0.1, .test = 0.1};
  const auto source = files.source();
  const Batches train = fill(*source, Split::validation, 0, 1, 1);
  const Batches test = fill(*source, Split::test, 0, 1, 1);
  const auto texts = [](const Numbers& tokens) {
    std::set<std::string> result;
    for (const Numbers& example : examples(tokens, 11)) {
      result.emplace(example.begin(), example.end());
    }
    return result;
  };
  CHECK(texts(train.outer[0]) == std::set<std::string>{"AYYYYYYYYYY"});
  CHECK(texts(test.outer[0]) == std::set<std::string>{"BZZZZZZZZZZ"});
  const std::set<std::string> seen = texts(train.inner[0]);
  CHECK(seen.contains("aaaaaaaaxxx"));
  CHECK(seen.contains("xxxxxcccccc"));
  CHECK(seen.size() == 8 + 1 + 6);
}

TEST_CASE("text of bytes beyond 127 gives tokens up to 255") {
  TokenFiles files;
  files.config.data.kind = "text";
  files.write("bytes", std::string(1000, '\xff'));
  const Batches batches = fill(*files.source(), Split::train, 0, 1, 1);
  CHECK(batches.inner[0] == Numbers(3 * 8, 255));
}

TEST_CASE("without a test share, evaluation uses the validation split") {
  TokenFiles files;
  files.data().test = 0;
  const Batches test = fill(*files.source(), Split::test, 0, 1000, 1);
  CHECK(*starts(test.outer[0], 8).begin() == 800);
  CHECK(*starts(test.outer[0], 8).rbegin() == 992);
}

TEST_CASE("ids of every type read the same, from .npy and from .bin") {
  TokenFiles files(128, 256);
  const Batches expected = fill(*files.source(), Split::train, 5, 2, 3);
  const auto check = [&](const std::string& name, const std::string& content) {
    CAPTURE(name);
    files.write(name, content);
    CHECK(fill(*files.source(), Split::train, 5, 2, 3) == expected);
  };
  const auto check_type = [&](auto example, const std::string& letter, const std::string& dtype) {
    std::vector<decltype(example)> values;
    for (int i = 0; i < 128; ++i) values.push_back(static_cast<decltype(example)>(i));
    const std::string bytes = std::to_string(sizeof(example));
    std::string swapped;
    for (const auto value : values) {
      const std::string little = raw(value);
      swapped.append(little.rbegin(), little.rend());
    }
    check(dtype + ".npy", npy((bytes == "1" ? "|" : "<") + letter + bytes, "(128,)", raw(values)));
    check(dtype + "_big.npy", npy(">" + letter + bytes, "(128,)", swapped));
    files.data().dtype = dtype;
    check(dtype + ".bin", raw(values));
    check(dtype + "_upper.BIN", raw(values));
  };
  check_type(std::uint8_t{}, "u", "uint8");
  check_type(std::uint16_t{}, "u", "uint16");
  check_type(std::uint32_t{}, "u", "uint32");
  check_type(std::uint64_t{}, "u", "uint64");
  check_type(std::int8_t{}, "i", "int8");
  check_type(std::int16_t{}, "i", "int16");
  check_type(std::int32_t{}, "i", "int32");
  check_type(std::int64_t{}, "i", "int64");
}

TEST_CASE("ids of uint16 reach 65535") {
  TokenFiles files(1, 65536);
  files.write("large.bin", raw(std::vector<std::uint16_t>(1000, 65535)));
  CHECK(fill(*files.source(), Split::train, 0, 1, 1).inner[0] == Numbers(3 * 8, 65535));
}

TEST_CASE("batches depend on seed, split, index and task alone; more steps only add batches") {
  for (const double corrupt : {0.0, 0.5}) {
    TokenFiles files;
    files.data().corrupt = corrupt;
    const auto source = files.source();
    const Batches five = fill(*source, Split::train, 8, 5, 6);
    fill(*source, Split::test, 9, 3, 1);
    const Batches one = fill(*source, Split::train, 8, 1, 9);
    const std::size_t task = 6 * 3 * 8;
    CHECK(prefix(one.inner[0], task) == prefix(five.inner[0], task));
    CHECK(one.outer[0] == prefix(five.outer[0], 3 * 8));
    CHECK(fill(*files.source(), Split::train, 8, 5, 6) == five);
    CHECK(fill(*source, Split::train, 9, 5, 6) != five);
    CHECK(fill(*source, Split::validation, 8, 5, 6) != five);
    CHECK(fill(*source, Split::validation, 8, 5, 6).inner !=
          fill(*source, Split::test, 8, 5, 6).inner);
    files.config.seed = 2;
    CHECK(fill(*files.source(), Split::train, 8, 5, 6) != five);
  }
}

TEST_CASE("steps, examples and tasks differ") {
  TokenFiles files(20'000, 20'000);
  const Batches batches = fill(*files.source(), Split::train, 0, 4, 5);
  // 60 draws out of 14,000 places: the few that coincide are chance.
  CHECK(starts(batches.inner[0], 8).size() >= 58);
  CHECK(starts(batches.outer[0], 8).size() >= 11);
}

TEST_CASE("the corrupt share of inner examples is uniform noise, in every split; outer never are") {
  TokenFiles files;
  files.data().corrupt = 0.3;
  const auto source = files.source();
  for (const Split split : {Split::train, Split::validation, Split::test}) {
    const Batches batches = fill(*source, split, 0, 40, 50);
    int noisy = 0;
    std::vector<int> ninths(9);
    for (const Numbers& example : examples(batches.inner[0], 8)) {
      if (consecutive(example)) continue;
      ++noisy;
      for (const double token : example) ++ninths[static_cast<std::size_t>(token * 9 / 1000)];
    }
    // 6,000 examples: the share's deviation is 0.006, that of a ninth of 14,400 tokens 38.
    CHECK(noisy / 6000.0 == doctest::Approx(0.3).epsilon(0.08));
    for (const int count : ninths) CHECK(std::abs(count - noisy * 8 / 9) < 190);
    for (const Numbers& example : examples(batches.outer[0], 8)) CHECK(consecutive(example));
  }
}

TEST_CASE("corrupt 1 leaves no inner example as it was") {
  TokenFiles files;
  files.data().corrupt = 1;
  const Batches batches = fill(*files.source(), Split::train, 0, 10, 50);
  for (const Numbers& example : examples(batches.inner[0], 8)) CHECK_FALSE(consecutive(example));
}

TEST_CASE("random tokens are uniform over the vocabulary, inside and outside, and need no file") {
  TokenFiles files(1, 5);
  files.config.data.kind = "random_tokens";
  files.data().path = {};
  const Batches batches = fill(*files.source(), Split::validation, 0, 100, 20);
  for (const Numbers* tokens : {&batches.inner[0], &batches.outer[0]}) {
    std::vector<int> counts(5);
    for (const double token : *tokens) ++counts[static_cast<std::size_t>(token)];
    const auto expected = static_cast<double>(tokens->size()) / 5;
    for (const int count : counts) CHECK(std::abs(count - expected) < 5 * std::sqrt(expected));
  }
}

TEST_CASE("ids outside of the vocabulary are refused with their place and value") {
  const std::string way_out = "; raise model.vocab or tokenise again";
  TokenFiles files(100, 50);
  CHECK(files.refusal() ==
        files.directory / "ids.npy: token 50 (from 0) has id 50, expected 0 .. 49" + way_out);
  std::vector<std::int64_t> ids(100, 7);
  ids[99] = -1;
  files.write("negative.npy", npy("<i8", "(100,)", raw(ids)));
  CHECK(files.refusal() == files.directory /
                               "negative.npy: token 99 (from 0) has id -1, expected 0 .. 49; the "
                               "file is damaged or no file of ids");
  ids[0] = (std::int64_t{1} << 32) + 3;  // 3 in 32 bits
  files.write("wide.npy", npy("<i8", "(100,)", raw(ids)));
  CHECK(files.refusal() ==
        files.directory / "wide.npy: token 0 (from 0) has id 4294967299, expected 0 .. 49" +
            way_out);
  files.write("wide.bin", raw(std::vector<std::uint16_t>(100, 50)));
  CHECK(files.refusal() ==
        files.directory / "wide.bin: token 0 (from 0) has id 50, expected 0 .. 49" + way_out);
}

TEST_CASE("files that are no token ids are refused") {
  TokenFiles files;
  const auto refused = [&](const std::string& name, const std::string& content) {
    files.write(name, content);
    const std::string start = files.directory / name + ": ", message = files.refusal();
    CHECK(message.starts_with(start));
    return message.substr(std::min(message.size(), start.size()));
  };
  CHECK(refused("a.txt", "text") ==
        "expected a .npy or .bin file of token ids, found .txt; data.kind: text reads the bytes of "
        "any file");
  CHECK(
      refused("a.npy", npy("<f4", "(2,)", raw(1.0))) ==
      "dtype '<f4' is no type of token ids, expected integers of 8 to 64 bits; save it again with "
      ".astype(\"int32\")");
  CHECK(refused("b.npy", npy("|u1", "(2, 3)", "\1\2\3\4\5\6")) ==
        "found uint8[2,3], expected token ids along one axis; save it again with .reshape(-1)");
  CHECK(refused("c.npy", npy("<u2", "(4,)", "123456")) ==
        "truncated: 6 bytes of data found, 8 expected for uint16[4]");
  CHECK(refused("d.npy", "text") == "not a .npy file (it does not begin with \\x93NUMPY)");
  CHECK(refused("e.bin", "12345") ==
        "5 bytes are no whole number of ids of data.dtype uint16; the file is truncated or of "
        "another type");
}

TEST_CASE("paths that lead nowhere are refused") {
  TokenFiles files;
  files.data().path = {"none.npy"};
  CHECK(files.refusal() == "a.yaml: data.path: none.npy: no such file");
  files.config.data.kind = "text";
  files.data().path = {"none/text"};
  CHECK(files.refusal() ==
        "a.yaml: data.path: none/text: no such file; scripts/fetch_data.sh text fetches it");
  std::filesystem::create_directory(files.directory / "empty");
  files.data().path = {files.directory / "empty"};
  CHECK(files.refusal() ==
        "a.yaml: data.path: " + files.data().path[0] + ": a directory without files");
}

TEST_CASE("splits shorter than a window are refused, each by its name") {
  TokenFiles files(100);  // 70, 20 and 10 tokens
  const auto message = [&](const std::string& share, int tokens) {
    return "a.yaml: data.path: " + files.data().path[0] + ": its " + share + " share has " +
           std::to_string(tokens) + " tokens, expected more than data.sequence " +
           std::to_string(files.data().sequence) + "; give more data or shorten the sequence";
  };
  files.data().sequence = 70;
  CHECK(files.refusal() == message("training", 70));
  files.data().sequence = 20;
  CHECK(files.refusal() == message("validation", 20));
  files.data().sequence = 10;
  CHECK(files.refusal() == message("test", 10));
  // A share too small for a single token is not "no share".
  files.data().test = 0.001;
  CHECK(files.refusal() == message("test", 0));
}

}  // namespace
}  // namespace mixflow
