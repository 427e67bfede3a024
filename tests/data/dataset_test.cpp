#include "data/dataset.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "../util/testing.h"
#include "batches.h"
#include "util/error.h"

namespace mixflow {
namespace {

Dataset read(const std::string& x, const std::string& y) {
  Config config;
  config.file = "a.yaml";
  config.origins[""] = config.file;
  return read_dataset({x, y}, config);
}
std::string refusal(const std::string& x, const std::string& y) {
  return message_of<UserError>([&] { read(x, y); });
}

TEST_CASE("images and targets keep their axes") {
  const TemporaryDirectory d;
  write_atomically(d / "x.npy", npy("|u1", "(2, 2, 2)", "\1\2\3\4\5\6\7\10"));
  write_labels(d / "y.npy", {1, 0});
  const Dataset set = read(d / "x.npy", d / "y.npy");
  CHECK(set.x.shape == Shape{2, 2, 2});
  CHECK(set.y.shape == Shape{2});
}

TEST_CASE("an outline has the shapes, and not the numbers of x") {
  const TemporaryDirectory d;
  // Not a number in sight: the values are NaN.
  write_atomically(d / "x.npy", npy("<f4", "(2, 3)", std::string(24, '\xff')));
  write_labels(d / "y.npy", {1, 0});
  Config config;
  const DatasetOutline outline = read_outline({d / "x.npy", d / "y.npy"}, config);
  CHECK(outline.x.type() == "float32[2,3]");
  CHECK(values_of(outline.y) == Numbers{1, 0});
  write_labels(d / "y.npy", {1, 0, 1});
  CHECK_THROWS_AS(read_outline({d / "x.npy", d / "y.npy"}, config), UserError);
}

TEST_CASE("a missing file is named where it was looked for, beside the config file too") {
  const TemporaryDirectory d;
  Config config;
  config.file = d / "run.yaml";
  config.origins[""] = config.file;
  CHECK(message_of<UserError>([&] {
          read_dataset({"z.npy", "y.npy"}, config);
        }) == config.file + ": data.x: z.npy: no such file, nor " + (d / "z.npy"));
}

TEST_CASE("a missing file of the project's own data sets tells the command that fetches it") {
  CHECK(
      refusal("/none/digits_x.npy", "y.npy") ==
      "a.yaml: data.x: /none/digits_x.npy: no such file; scripts/fetch_data.sh digits fetches it");
  CHECK(refusal("none/mnist_x.npy", "y.npy") ==
        "a.yaml: data.x: none/mnist_x.npy: no such file; scripts/fetch_data.sh mnist fetches it");
  CHECK(refusal("/none/x.npy", "y.npy") == "a.yaml: data.x: /none/x.npy: no such file");
}

TEST_CASE("arrays that are no data set are refused with what they are") {
  const TemporaryDirectory d;
  write_rows(d / "x.npy", 3);
  write_labels(d / "y.npy", {0, 1});
  CHECK(refusal(d / "x.npy", d / "y.npy") ==
        d / "x.npy and " + (d / "y.npy") +
            " differ in length: float32[3,1] and int32[2]; expected one "
            "target per example");
  CHECK(refusal(d / "y.npy", d / "y.npy") ==
        d / "y.npy: found int32[2], expected [examples, features]");
  write_atomically(d / "cube.npy", npy("|u1", "(3, 1, 1)", "123"));
  CHECK(refusal(d / "x.npy", d / "cube.npy") ==
        d / "cube.npy: found uint8[3,1,1], expected [examples] or [examples, outputs]");
  write_atomically(d / "none.npy", npy("<f4", "(0, 4)", ""));
  CHECK(refusal(d / "none.npy", d / "y.npy") == d / "none.npy: found float32[0,4]: no numbers");
  write_atomically(d / "x.txt", "1");
  CHECK(refusal(d / "x.txt", d / "y.npy") ==
        d / "x.txt: expected a .npy, .npz:member or .csv file, found .txt");
}

// Rows of a table as a batch of doubles shows them.
Numbers scaled(const Array& table, const std::string& kind,
               const std::vector<std::int64_t>& training) {
  const Rows rows(table, statistics_of(table, kind, training), Precision::f64);
  std::vector<std::byte> batch(static_cast<std::size_t>(table.elements()) * 8);
  for (std::int64_t row = 0; row < table.rows(); ++row) {
    rows.copy(row, Precision::f64, batch.data(), row);
  }
  return to_numbers(batch, DType::f64);
}

TEST_CASE("standard scaling uses the training rows alone and leaves constant columns at zero") {
  const Numbers x =
      scaled(number_array("x", {4, 2}, {1, 0.1, 3, 0.1, 5, 0.1, 100, 0.2}), "standard", {0, 1, 2});
  const double deviation = std::sqrt(8.0 / 3);
  CHECK(x[0] == doctest::Approx(-2 / deviation));
  CHECK(x[4] == doctest::Approx(2 / deviation));
  CHECK(x[6] == doctest::Approx(97 / deviation));
  for (std::size_t row = 0; row < 3; ++row) CHECK(x[2 * row + 1] == 0);
  CHECK(x[7] == doctest::Approx(0.1));
}

TEST_CASE("a column whose deviation no double holds is refused") {
  const Array x = number_array("x.npy", {3, 2}, {1, -1e200, 2, 1e200, 3, 0});
  CHECK(message_of<UserError>([&] {
          statistics_of(x, "standard", {0, 1, 2});
        }) ==
        "x.npy: column 1 (from 0) has a deviation that no float64 holds, so data.normalize: "
        "standard cannot scale it; scale the data before");
}

TEST_CASE("unit scaling divides by the largest training magnitude") {
  CHECK(scaled(number_array("x", {3, 2}, {1, -4, 2, 3, 8, 8}), "unit", {0, 1}) ==
        Numbers{0.25, -1, 0.5, 0.75, 2, 2});
  CHECK(scaled(number_array("x", {1, 2}, {0, 0}), "unit", {0}) == Numbers{0, 0});
}

TEST_CASE("the first NaN or infinity of a table is named by row and column") {
  const Array x = number_array("x.npy", {2, 2}, {1, 2, std::numeric_limits<double>::infinity(), 4});
  CHECK(message_of<UserError>([&] { statistics_of(x, "none", {}); }) ==
        "x.npy: inf at row 1, column 0 (from 0) of number[2,2]; every value must be finite");
}

TEST_CASE("statistics are those of all rows where a table is read in many blocks") {
  std::vector<double> values;
  for (int row = 0; row < 100'000; ++row) {
    values.insert(values.end(), {static_cast<double>(row), -1.0, static_cast<double>(row % 3)});
  }
  const Array x = number_array("x", {100'000, 3}, values);
  const TableStatistics all = statistics_of(x, "standard", {0, 50'000, 99'999});
  CHECK(all.low == Numbers{0, -1, 0});
  CHECK(all.high == Numbers{99'999, -1, 2});
  CHECK(all.scaling.mean[0] == doctest::Approx((0 + 50'000 + 99'999) / 3.0));
}

TEST_CASE("rows are copied in either precision, whichever the experiment has") {
  const Array array = number_array("x.npy", {2, 2}, {1, 2, 3, 0.1});
  for (Precision held : {Precision::f32, Precision::f64}) {
    const Rows rows(array, statistics_of(array, "none", {}), held);
    std::vector<std::byte> f32(16), f64(32);
    rows.copy(1, Precision::f32, f32.data(), 1);
    rows.copy(1, Precision::f64, f64.data(), 1);
    CHECK(to_numbers(f32, DType::f32) == Numbers{0, 0, 3, 0.1f});
    CHECK(to_numbers(f64, DType::f64) == Numbers{0, 0, 3, held == Precision::f32 ? 0.1f : 0.1});
  }
}

TEST_CASE("rows of every stored type are the numbers scaled in double and rounded once") {
  // More columns than are converted at a time.
  constexpr std::int64_t kWidth = 700;
  const TemporaryDirectory d;
  std::string bytes, shorts, floats;
  for (int i = 0; i < 3 * kWidth; ++i) {
    bytes += static_cast<char>(i * 7);
    shorts += raw(static_cast<std::int16_t>(i * 37 - 30'000));
    floats += raw(static_cast<float>(std::sin(i)));
  }
  write_atomically(d / "b.npy", npy("|u1", "(3, 700)", bytes));
  write_atomically(d / "s.npy", npy("<i2", "(3, 700)", shorts));
  write_atomically(d / "f.npy", npy("<f4", "(3, 700)", floats));
  for (const char* file : {"b.npy", "s.npy", "f.npy"}) {
    const Array array = read_array(d / file);
    CHECK(array.bytes.mapped());
    CHECK(array.owned_bytes == 0);
    const Numbers values = values_of(array);
    for (const char* kind : {"none", "unit", "standard"}) {
      const TableStatistics statistics = statistics_of(array, kind, {0, 2});
      const Rows rows(array, statistics, Precision::f32);
      std::vector<std::byte> f32(2 * kWidth * 4), f64(kWidth * 8);
      rows.copy(1, Precision::f32, f32.data(), 1);
      rows.copy(1, Precision::f64, f64.data(), 0);
      const Numbers got = to_numbers(f32, DType::f32), wide = to_numbers(f64, DType::f64);
      for (std::size_t c = 0; c < kWidth; ++c) {
        double expected = values[kWidth + c];
        if (kind == std::string("unit")) expected /= statistics.scaling.divisor;
        if (kind == std::string("standard")) {
          expected = (expected - statistics.scaling.mean[c]) * statistics.scaling.scale[c];
        }
        REQUIRE(got[kWidth + c] == static_cast<float>(expected));
        REQUIRE(wide[c] == static_cast<float>(expected));
      }
    }
  }
}

TEST_CASE("numbers too large for f32 are refused rather than turned into infinity") {
  const Array array = number_array("x.npy", {2, 2}, {1, 2, 3, -1e39});
  CHECK(message_of<UserError>(
            [&] { Rows(array, statistics_of(array, "none", {}), Precision::f32); }) ==
        "x.npy: row 1 (from 0) holds -1e+39, too large for precision f32; scale the data or use "
        "precision: f64");
  CHECK_NOTHROW(Rows(array, statistics_of(array, "none", {}), Precision::f64));
  CHECK_NOTHROW(Rows(array, statistics_of(array, "unit", {0, 1}), Precision::f32));
}

}  // namespace
}  // namespace mixflow
