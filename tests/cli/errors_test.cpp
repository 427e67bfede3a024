// Every file of tests/errors through the binary: its message and nothing else, nothing written.
// Those from 70 to 99 and from 120 on name data files, which are made here.
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "../data/bytes.h"
#include "process.h"

using namespace mixflow;

namespace {

const std::filesystem::path kErrors = std::filesystem::path(MIXFLOW_SOURCE_DIR) / "tests/errors";
constexpr int kRows = 60;

std::string labels(auto label_of_row) {
  std::vector<std::int32_t> values;
  for (int row = 0; row < kRows; ++row) values.push_back(label_of_row(row));
  return npy("<i4", "(60,)", raw(values));
}

// A hundred token ids.
std::string ids(const std::string& descr, auto id_at) {
  std::vector<decltype(id_at(0))> values;
  for (int i = 0; i < 100; ++i) values.push_back(id_at(i));
  return npy(descr, "(100,)", raw(values));
}

// A hundred ids after llm.c's header of 256 int32, which says `count`.
std::string llmc_ids(std::int32_t count) {
  std::vector<std::int32_t> header(256);
  header[0] = 20240520;
  header[1] = 1;
  header[2] = count;
  return raw(header) + raw(std::vector<std::uint16_t>(100, 7));
}

// Good files, and one for each way of being bad.
std::map<std::string, std::string> data_files() {
  std::vector<float> x;
  for (int i = 0; i < 2 * kRows; ++i) x.push_back(static_cast<float>(i % 7) - 3);
  std::vector<float> x_nan = x;
  x_nan[25] = std::nanf("");
  std::vector<double> x_large(x.begin(), x.end());
  x_large[7] = 1e300;
  std::vector<float> half(kRows, 1);
  half[3] = 0.5f;
  const std::string points = npy("<f4", "(60, 2)", raw(x));
  std::map<std::string, std::string> files = {
      {"points.npy", points},
      {"points.txt", points},
      {"truncated.npy", points.substr(0, points.size() - 100)},
      {"text.npy", "u,v\n1,2\n"},
      {"nan.npy", npy("<f4", "(60, 2)", raw(x_nan))},
      {"large.npy", npy("<f8", "(60, 2)", raw(x_large))},
      {"flat.npy", npy("<f4", "(120,)", raw(x))},
      {"objects.npy", npy("|O", "(60, 2)", raw(x))},
      {"complex.npy", npy("<c8", "(60, 1)", raw(x))},
      {"labels.npy", labels([](int row) { return row % 3; })},
      {"six_labels.npy", labels([](int row) { return row % 6; })},
      {"gap_labels.npy", labels([](int row) { return 2 * (row % 2); })},
      {"row_numbers.npy", labels([](int row) { return row; })},
      {"zero_labels.npy", labels([](int) { return 0; })},
      {"short_labels.npy", npy("<i4", "(3,)", raw(std::vector<std::int32_t>{0, 1, 2}))},
      {"half_labels.npy", npy("<f4", "(60,)", raw(half))},
      {"good.csv", "u,v,target\n1,2,0\n3,4,1\n"},
      {"word.csv", "u,v,target\n1,2,0\n3,four,1\n"},
      {"ragged.csv", "u,v,target\n1,2,0\n3,4\n"},
      {"quote.csv", "u,v,target\n1,\"2,0\n3,4,1\n"},
      {"header.csv", "u,v,target\n"},
      {"holes.csv", "u,v,target\n1,2,0\n,4,1\n"},
      {"unlabelled.csv", "u,v,target\n1,2,0\n3,4,NA\n"},
      {"unnamed.csv", "u,,target\n1,2,0\n3,4,1\n"},
      {"nul.csv", std::string("u,v,target\n1,\0002,0\n", 18)},
      {"ids.npy", ids("<u2", [](int i) { return static_cast<std::uint16_t>(i); })},
      {"negative_ids.npy", ids("<i8", [](int i) { return std::int64_t{40} - i; })},
      {"ids_2d.npy", npy("|u1", "(3, 2)", "abcdef")},
      {"truncated_ids.npy", npy("<i4", "(4,)", raw(std::vector<std::int32_t>{0, 1, 2}))},
      {"odd.bin", "odd"},
      {"wide.bin", raw(std::vector<std::int32_t>(100, 7))},
      {"llmc.bin", llmc_ids(99)},
      {"llmc_good.bin", llmc_ids(100)},
      {"empty.npz", "PK\x05\x06" + std::string(18, '\0')},
      {"cut.npz", "PK\x03\x04" + std::string(30, '\0')},
  };
  return files;
}

struct BadConfig {
  std::string file, message;
};

// messages.txt: a line is the message, preceded by "FILE: " where the message names the data file
// first and not the config.
std::vector<BadConfig> bad_configs() {
  std::vector<BadConfig> configs;
  std::istringstream lines(read_text(kErrors / "messages.txt"));
  for (std::string line; std::getline(lines, line);) {
    const std::size_t colon = line.find(':');
    const bool of_data = line.compare(colon, 2, ": ") == 0;
    configs.push_back({line.substr(0, colon), of_data ? line.substr(colon + 2) : line});
  }
  return configs;
}

// A directory with all bad configs and data files.
struct Workplace : TemporaryDirectory {
  Workplace() {
    for (const auto& entry : std::filesystem::directory_iterator(kErrors))
      std::filesystem::copy_file(entry.path(), path / entry.path().filename());
    for (const auto& [name, content] : data_files()) write_atomically(path / name, content);
    std::filesystem::create_directory(path / "folder.npy");
  }
};

}  // namespace

TEST_CASE(
    "every bad configuration is refused by every subcommand with its message, and nothing is "
    "written") {
  const Workplace work;
  const auto files = listing(work.path);
  // `train` for all; the other subcommands read configs the same way, so they take turns. Those
  // that only plan do not read the numbers of arrays.
  const Args others = {"plan", "check", "grad", "graph"}, readers = {"check", "grad"};
  const std::set<std::string> of_numbers = {"74_nan.yaml", "95_too_large_for_f32.yaml"};
  std::size_t checked = 0;
  for (const auto& [file, message] : bad_configs()) {
    const Args& turns = of_numbers.contains(file) ? readers : others;
    for (const std::string& command : {std::string("train"), turns[checked % turns.size()]}) {
      CAPTURE(file);
      CAPTURE(command);
      const Outcome outcome = mixflow::mixflow({command, file}, work.path);
      CHECK(outcome.code == 2);
      CHECK(outcome.out == "");
      CHECK(outcome.err == "mixflow: " + message + "\n");
    }
    ++checked;
  }
  CHECK(checked >= 125);
  CHECK(listing(work.path) == files);
}

TEST_CASE("every bad configuration is listed in messages.txt once, with a message of its own") {
  std::vector<std::string> listed, files, messages;
  for (const auto& [file, message] : bad_configs()) {
    listed.push_back(file);
    const std::size_t at = message.find(": ");
    messages.push_back(message.substr(at));
  }
  for (const auto& entry : std::filesystem::directory_iterator(kErrors)) {
    if (entry.path().extension() == ".yaml") files.push_back(entry.path().filename().string());
  }
  const auto number = [](const std::string& file) { return std::stoi(file); };
  std::ranges::sort(files);  // 61_a, 61b_c, .. in this order
  std::ranges::stable_sort(files, {}, number);
  CHECK(std::ranges::is_sorted(listed, {}, number));
  CHECK(listed == files);
  std::ranges::sort(messages);
  CHECK(std::ranges::adjacent_find(messages) == messages.end());
}
