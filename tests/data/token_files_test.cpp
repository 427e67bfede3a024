// Where tokens come from: lists, patterns and directories of files, splits with files of their own,
// and what the files' own bytes tell about their type.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "../util/testing.h"
#include "batches.h"
#include "data/tokens.h"
#include "util/error.h"

namespace mixflow {
namespace {

namespace fs = std::filesystem;
using namespace std::string_literals;

struct Place {
  TemporaryDirectory directory;
  Config config;

  explicit Place(const std::string& kind = "text", int vocab = 256) {
    config.file = "a.yaml";
    config.origins[""] = config.file;
    config.inner.loss = Loss::cross_entropy;
    config.data.kind = kind;
    config.data.source = TokensData{.sequence = 3, .batch = 200, .validation = 0.25, .test = 0.25};
    config.model = TransformerModel{.vocab = vocab};
  }
  TokensData& data() { return std::get<TokensData>(config.data.source); }
  std::string operator/(const std::string& name) const { return directory / name; }
  void write(const std::string& name, const std::string& content) const {
    fs::create_directories(fs::path(directory / name).parent_path());
    write_atomically(directory / name, content);
  }
  std::unique_ptr<TaskSource> source() const { return make_source(config); }
  std::string refusal() const {
    return message_of<UserError>([&] { source(); });
  }
  // The different tokens of a split, as characters.
  std::string tokens(Split split) const {
    const Batches batches = fill(*source(), split, 0, 1, 1);
    std::set<char> seen;
    const Numbers& from = split == Split::train ? batches.inner[0] : batches.outer[0];
    for (const double token : from) seen.insert(static_cast<char>(token));
    return {seen.begin(), seen.end()};
  }
  // "a b/c": the files that were read, relative to the directory.
  std::string files() const {
    std::string text;
    for (const DataFacts::File& file : source()->facts().files) {
      text += (text.empty() ? "" : " ") +
              fs::path(file.path).lexically_relative(directory.path).string();
    }
    return text;
  }
  std::string notes() const {
    std::string text;
    for (const std::string& note : source()->facts().notes) text += note + "\n";
    return text;
  }
};

std::string times(int count, const std::string& text) {
  std::string all;
  for (int i = 0; i < count; ++i) all += text;
  return all;
}

TEST_CASE("hidden, binary and empty files of a directory are left out, and that is said") {
  Place place;
  place.write("t/a.txt", times(16, "a"));
  place.write("t/sub/b.md", times(16, "b"));
  place.write("t/.git/config", times(16, "c"));
  place.write("t/.hidden", times(16, "d"));
  place.write("t/e.png", "\x89PNG\r\n\x1a\n" + times(16, "e"));
  place.write("t/f.dat", times(16, "f") + std::string(1, '\0') + times(16, "f"));
  place.write("t/g.txt", "");
  place.data().path = {place / "t"};
  CHECK(place.files() == "t/a.txt t/sub/b.md");
  CHECK(place.tokens(Split::train) == "ab");
  CHECK(place.notes() ==
        "data.path: left out 2 hidden (.git, ..), 2 binary (e.png, ..), 1 empty (g.txt)\n");
}

TEST_CASE("a file that is named is read as it is") {
  Place place;
  place.write(".hidden", times(16, "d"));
  place.write("f.dat", times(16, "f") + std::string(16, '\0'));
  place.data().path = {place / ".hidden", place / "f.dat"};
  CHECK(place.files() == ".hidden f.dat");
  CHECK(place.tokens(Split::train) == "df");
  CHECK(place.notes() ==
        place / "f.dat" + ": has NUL bytes; its bytes are the tokens as they are\n");
}

TEST_CASE("lists keep their order, patterns and directories go by names") {
  Place place;
  for (const std::string name : {"z.txt", "d/b.txt", "d/a.txt", "p1.txt", "p2.txt", "p3.md"}) {
    place.write(name, times(16, "x"));
  }
  place.data().path = {place / "z.txt", place / "d", place / "p?.txt"};
  CHECK(place.files() == "z.txt d/a.txt d/b.txt p1.txt p2.txt");
  place.data().path = {place / "p*", place / "*.txt"};  // each file once
  CHECK(place.files() == "p1.txt p2.txt p3.md z.txt");
  place.data().path = {place / "[dz]*"};  // d is a directory
  CHECK(place.files() == "d/a.txt d/b.txt z.txt");
  place.write("p[1].txt", times(16, "y"));
  place.data().path = {place / "p[1].txt"};  // a file of this very name comes first
  CHECK(place.tokens(Split::train) == "y");
}

TEST_CASE("links are followed inside their directory, each file once, and not out of it") {
  Place place;
  place.write("t/a.txt", times(16, "a"));
  place.write("t/.store/b", times(16, "b"));
  place.write("outside.txt", times(16, "c"));
  fs::create_symlink("a.txt", place / "t/again.txt");
  fs::create_symlink(".store/b", place / "t/b.txt");
  fs::create_symlink("../outside.txt", place / "t/c.txt");
  fs::create_symlink("nowhere", place / "t/d.txt");
  fs::create_directory_symlink(".", place / "t/loop");
  place.data().path = {place / "t"};
  CHECK(place.files() == "t/a.txt t/b.txt");
  CHECK(place.notes() ==
        "data.path: left out 1 hidden (.store), 1 a link out of its directory (c.txt), 1 a broken "
        "link (d.txt)\n");
  fs::create_directory_symlink("t", place / "link");
  place.data().path = {place / "link", place / "outside.txt"};
  CHECK(place.files() == "link/a.txt link/b.txt outside.txt");
}

TEST_CASE("splits with files of their own take no share of the others") {
  Place place;
  place.write("train.txt", times(12, "a") + "zzzz");
  place.write("val.txt", times(8, "b"));
  place.write("test.txt", times(8, "c"));
  place.data().path = {place / "train.txt"};
  place.data().validation_path = {place / "val.txt"};
  place.data().validation = 0;
  CHECK(place.tokens(Split::train) == "a");
  CHECK(place.tokens(Split::validation) == "b");
  CHECK(place.tokens(Split::test) == "z");  // still a share
  place.data().test_path = {place / "test.txt"};
  place.data().test = 0;
  CHECK(place.tokens(Split::train) == "az");
  CHECK(place.tokens(Split::test) == "c");
  place.data().test_path = {};
  CHECK(place.tokens(Split::train) == "az");
  CHECK(place.tokens(Split::test) == "b");
  CHECK(place.notes() == "there is no test data: evaluation is on the validation data\n");
  const DataFacts facts = place.source()->facts();
  REQUIRE(facts.splits.size() == 3);
  CHECK(facts.splits[0].name == "train");
  CHECK(facts.splits[0].count == 16);
  CHECK(facts.splits[1].count == 8);
  CHECK(facts.splits[1].unit == "tokens");
}

TEST_CASE("held-out files are never training files") {
  Place place;
  place.write("t/a.txt", times(16, "a"));
  place.write("t/val.txt", times(8, "b"));
  place.write("t/test.txt", times(8, "c"));
  place.data().validation = place.data().test = 0;
  place.data().validation_path = {place / "t/val.txt"};
  place.data().test_path = {place / "t/test.txt"};
  place.data().path = {place / "t"};
  CHECK(place.files() == "t/val.txt t/test.txt t/a.txt");
  CHECK(place.tokens(Split::train) == "a");
  CHECK(place.notes() ==
        "data.path: left out 2 of data.validation_path or data.test_path "
        "(test.txt, ..)\n");
  place.data().path = {place / "t/a.txt", place / "t/val.txt"};
  CHECK(place.refusal() == "a.yaml: data.path: " + place / "t/val.txt" +
                               ": is also a file of data.validation_path or data.test_path, but "
                               "held-out data must be other data; remove it from one of them");
  place.data().path = {place / "t/a.txt"};
  place.data().test_path = {place / "t/val.txt"};
  CHECK(place.refusal() == "a.yaml: data.test_path: " + place / "t/val.txt" +
                               ": is also a file of data.validation_path, but held-out data must "
                               "be other data; remove it from one of them");
}

TEST_CASE("lists that lead nowhere are refused") {
  Place place;
  place.write("a.txt", times(16, "a"));
  place.write("t/.hidden", "x");
  place.write("t/empty", "");
  place.data().path = {place / "a.txt", place / "*.md"};
  CHECK(place.refusal() == "a.yaml: data.path: " + place / "*.md" + ": no file fits this pattern");
  place.data().path = {place / "t"};
  CHECK(place.refusal() == "a.yaml: data.path: " + place / "t" +
                               ": a directory without files to read; left out: 1 hidden "
                               "(.hidden), 1 empty (empty)");
  place.data().path = {place / "a.txt", place / "a.txt"};
  CHECK(place.refusal() == "a.yaml: data.path: " + place / "a.txt" +
                               ": stands for a file that comes before it in the list; remove one "
                               "of the two");
}

TEST_CASE("texts that are no UTF-8 or have CRLF are read as they are, and that is said") {
  Place place;
  const auto note = [&](const std::string& content) {
    place.write("t.txt", content + times(20, "abc"));
    place.data().path = {place / "t.txt"};
    std::string notes = place.notes();
    const std::string start = place / "t.txt" + ": has ";
    if (!notes.starts_with(start)) return notes;
    return notes.substr(start.size(), notes.find(';') - start.size());
  };
  CHECK(note("") == "");
  CHECK(note("gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80") == "");
  CHECK(note("gr\xFC\xDF") == "bytes that are not UTF-8");
  CHECK(note("a\r\nb\r\n") == "CRLF line ends");
  CHECK(note("\xEF\xBB\xBFgr\xFC\r\n") ==
        "a byte-order mark, bytes that are not UTF-8, CRLF line ends");
  CHECK(note("\xFF\xFE") == "UTF-16");
  place.write("t.txt", times(20, "gr\xFC\r\n"));
  CHECK(place.tokens(Split::train) == "\xFC\n\rgr");  // chars are signed
}

TEST_CASE("windows go across files that are mapped, of different types too") {
  Place place("tokens", 1000);
  const auto ids = [](auto example, int first) {
    std::vector<decltype(example)> values;
    for (int i = 0; i < 40; ++i) values.push_back(static_cast<decltype(example)>(first + i));
    return values;
  };
  place.write("a.npy", npy("<i8", "(40,)", raw(ids(std::int64_t{}, 0))));
  place.write("b.bin", raw(ids(std::uint16_t{}, 40)));
  place.write("c.npy", npy("|u1", "(40,)", raw(ids(std::uint8_t{}, 80))));
  place.write("v.bin", raw(ids(std::uint16_t{}, 500)));
  place.write("readme.txt", "x");
  place.data() = {.path = {place.directory.path.string()},
                  .validation_path = {place / "v.bin"},
                  .sequence = 30,
                  .batch = 50,
                  .validation = 0,
                  .test = 0};
  CHECK(place.files() == "v.bin a.npy b.bin c.npy");
  const Batches batches = fill(*place.source(), Split::train, 0, 1, 8);
  std::set<double> starts;
  for (std::size_t at = 0; at < batches.inner[0].size(); at += 31) {
    starts.insert(batches.inner[0][at]);
    for (std::size_t i = 1; i < 31; ++i) {
      CHECK(batches.inner[0][at + i] == batches.inner[0][at] + static_cast<double>(i));
    }
  }
  CHECK(*starts.begin() < 5);
  CHECK(*starts.rbegin() > 84);
  CHECK(starts.size() > 75);
  const DataFacts facts = place.source()->facts();
  REQUIRE(facts.ranges.size() == 1);
  CHECK(facts.ranges[0].smallest == 0);
  CHECK(facts.ranges[0].largest == 539);
  CHECK(facts.files[1].content == "40 ids, int64");
  CHECK(place.notes() ==
        "data.path: left out 1 of another kind (readme.txt), 1 of data.validation_path or "
        "data.test_path (v.bin)\nthere is no test data: evaluation is on the validation data\n");
}

// 256 int32: magic, version, count.
std::string llmc_header(std::int32_t magic, std::int32_t version, std::int32_t count) {
  std::vector<std::int32_t> header(256);
  header[0] = magic;
  header[1] = version;
  header[2] = count;
  return raw(header);
}

TEST_CASE("llm.c's header is recognised, says the type, and must fit the file") {
  Place place("tokens", 200);
  std::vector<std::uint16_t> narrow;
  std::vector<std::uint32_t> wide;
  for (int i = 0; i < 100; ++i) {
    narrow.push_back(static_cast<std::uint16_t>(100 + i));
    wide.push_back(static_cast<std::uint32_t>(100 + i));
  }
  const auto try_file = [&](const std::string& content) {
    place.write("t.bin", content);
    place.data().path = {place / "t.bin"};
    return place.refusal();
  };
  const std::string passes = "(nothing was thrown)", name = place / "t.bin";
  CHECK(try_file(llmc_header(20240520, 1, 100) + raw(narrow)) == passes);
  CHECK(*std::ranges::min_element(fill(*place.source(), Split::train, 0, 1, 1).inner[0]) == 100);
  CHECK(place.source()->facts().files[0].content ==
        "100 ids, uint16 after llm.c's header (version 1)");
  CHECK(try_file(llmc_header(20240801, 7, 100) + raw(wide)) == passes);
  CHECK(*std::ranges::min_element(fill(*place.source(), Split::train, 0, 1, 1).inner[0]) == 100);

  CHECK(try_file(llmc_header(20240520, 1, 101) + raw(narrow)) ==
        name +
            ": its header says 101 ids of uint16, but 200 bytes follow; the file is truncated "
            "or damaged");
  CHECK(try_file(llmc_header(20240520, 2, 100) + raw(narrow)) ==
        name +
            ": llm.c's header (magic 20240520) of version 2, expected 1; write the ids to a "
            ".npy");
  place.config.origins["data.dtype"] = "a.yaml:1:9";
  place.data().dtype = "uint32";
  CHECK(try_file(llmc_header(20240520, 1, 100) + raw(narrow)) ==
        "a.yaml:1:9: data.dtype: uint32, but " + name +
            " has llm.c's header, by which its ids are uint16; remove data.dtype");
}

TEST_CASE("ids that are read with the wrong width are noticed, and the advice works") {
  Place place("tokens", 300);
  const auto ids = [](auto example) {
    std::vector<decltype(example)> values;
    for (int i = 0; i < 101; ++i) {
      values.push_back(static_cast<decltype(example)>((i * 37 + 1) % 300));
    }
    return raw(values);
  };
  const auto check = [&](const std::string& content, const std::string& as,
                         const std::string& right, const std::string& words) {
    CAPTURE(as);
    CAPTURE(right);
    place.write("t.bin", content);
    place.data().path = {place / "t.bin"};
    place.data().dtype = as;
    const std::string message = place.refusal();
    CHECK(message.find(words) != std::string::npos);
    CHECK(message.ends_with("set data.dtype: " + right));
    place.data().dtype = right;
    CHECK(place.refusal() == "(nothing was thrown)");
  };
  const std::string halves = "every second id is 0 if they are ";
  check(ids(std::uint32_t{}), "uint16", "uint32", halves + "uint16");
  check(ids(std::int64_t{}), "uint16", "int64", halves + "uint16");
  check(ids(std::int64_t{}), "uint32", "int64", halves + "uint32");
  check(ids(std::int64_t{}), "int32", "int64", halves + "int32");
  check(ids(std::uint16_t{}) + "\1\0"s, "uint32", "uint16", "expected 0 .. 299");
  check(ids(std::uint16_t{}) + "\1\0\1\0\1\0"s, "int64", "uint16", "expected 0 .. 299");
}

TEST_CASE("a .bin of bytes as uint16 is told apart where the vocabulary has 256 ids") {
  Place place("tokens");
  place.write("t.bin", times(50, "abcdefgh"));
  place.data().path = {place / "t.bin"};
  CHECK(place.refusal() ==
        place / "t.bin" +
            ": token 0 (from 0) has id 25185, expected 0 .. 255; of type uint8 all "
            "of them would be in the vocabulary: set data.dtype: uint8");
  place.data().dtype = "uint8";
  CHECK(place.tokens(Split::train) == "abcdefgh");
}

TEST_CASE("zeros alone, and zeros in a .npy, are ids like others") {
  Place place("tokens");
  place.write("t.bin", std::string(200, '\0'));
  place.data().path = {place / "t.bin"};
  CHECK(place.refusal() == "(nothing was thrown)");
  std::vector<std::uint16_t> every_second(100);
  for (std::size_t i = 0; i < 100; i += 2) every_second[i] = 7;
  place.write("t.npy", npy("<u2", "(100,)", raw(every_second)));
  place.data().path = {place / "t.npy"};
  CHECK(place.refusal() == "(nothing was thrown)");
}

TEST_CASE("nanoGPT's val.bin beside train.bin is pointed out") {
  Place place("tokens");
  place.write("n/train.bin", raw(std::vector<std::uint16_t>(100, 5)));
  place.write("n/val.bin", raw(std::vector<std::uint16_t>(100, 6)));
  place.data().path = {place / "n/train.bin"};
  CHECK(place.notes() == place / "n/val.bin" + " is not read; data.validation_path: " +
                             place / "n/val.bin" + " makes it the validation data\n");
  place.data().validation_path = {place / "n/val.bin"};
  CHECK(place.notes() == "");
}

}  // namespace
}  // namespace mixflow
