#include "data/npy.h"

#include <doctest/doctest.h>

#include <cmath>

#include "../util/testing.h"
#include "bytes.h"
#include "util/error.h"

namespace mixflow {
namespace {

Array parse(const std::string& file) { return parse_npy(as_bytes(file), "a.npy"); }
std::string refusal(const std::string& file) {
  return message_of<UserError>([&] { parse(file); });
}
using Numbers = std::vector<double>;

TEST_CASE("every supported dtype is read with its values") {
  const auto check = [](const std::string& file, const char* type, const Numbers& expected) {
    const Array array = parse(file);
    CHECK(array.type() == type);
    CHECK(array.values == expected);
  };
  check(npy("<f4", "(2,)", raw<float>({0.5f, -3})), "float32[2]", {0.5, -3});
  check(npy("<f8", "(2,)", raw<double>({0.1, 1e300})), "float64[2]", {0.1, 1e300});
  check(npy("<i4", "(2,)", raw<std::int32_t>({-7, INT32_MAX})), "int32[2]", {-7, 2147483647.0});
  check(npy("<i8", "(2,)", raw<std::int64_t>({-7, 1LL << 40})), "int64[2]", {-7, 1099511627776.0});
  check(npy("|u1", "(3,)", std::string("\x00\x01\xff", 3)), "uint8[3]", {0, 1, 255});
  check(npy("|b1", "(2,)", std::string("\x00\x01", 2)), "bool[2]", {0, 1});
}

TEST_CASE("shapes of every rank are read, empty ones too") {
  CHECK(parse(npy("<f4", "()", raw(2.5f))).shape == Shape{});
  CHECK(parse(npy("<f4", "(3, 0)", "")).shape == Shape{3, 0});
  const Array array = parse(npy("|u1", "(1, 2, 3)", "\1\2\3\4\5\6"));
  CHECK(array.shape == Shape{1, 2, 3});
  CHECK(array.width() == 6);
}

TEST_CASE("Fortran order comes out row-major") {
  CHECK(parse(npy("|u1", "(2, 3)", "\1\4\2\5\3\6", true)).values == Numbers{1, 2, 3, 4, 5, 6});
  // numpy.asfortranarray(numpy.arange(24).reshape(2, 3, 4)), element [i,j,k] at i + 2 j + 6 k.
  std::string stored(24, '\0');
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 3; ++j)
      for (int k = 0; k < 4; ++k)
        stored[static_cast<std::size_t>(i + 2 * j + 6 * k)] = static_cast<char>(12 * i + 4 * j + k);
  const Array array = parse(npy("|u1", "(2, 3, 4)", stored, true));
  for (std::size_t i = 0; i < 24; ++i) CHECK(array.values[i] == static_cast<double>(i));
  CHECK(parse(npy("|u1", "(4, 0)", "", true)).values.empty());
}

TEST_CASE("versions 2 and 3, with a four-byte header length, are read") {
  const std::string header = "{'descr': '|u1', 'fortran_order': False, 'shape': (1,)}";
  for (char version : {'\2', '\3'}) {
    const std::string file = std::string("\x93NUMPY") + version + '\0' +
                             raw(static_cast<std::uint32_t>(header.size())) + header + "\x09";
    CHECK(parse(file).values == Numbers{9});
  }
}

TEST_CASE("a truncated or overlong file tells the bytes found and expected") {
  CHECK(refusal(npy("<f4", "(10, 10)", std::string(100, 'x'))) ==
        "a.npy: truncated: 100 bytes of data found, 400 expected for float32[10,10]");
  CHECK(refusal(npy("<f4", "(1,)", "12345")) ==
        "a.npy: too long: 5 bytes of data found, 4 expected for float32[1]");
  CHECK(refusal(npy("<f4", "(1,)", "1234").substr(0, 40)) ==
        "a.npy: truncated inside the .npy header (40 bytes in all)");
}

TEST_CASE("what is no array of numbers is refused with the way out") {
  CHECK(refusal("PK\3\4 something else") ==
        "a.npy: not a .npy file (it does not begin with \\x93NUMPY)");
  CHECK(refusal("") == "a.npy: not a .npy file (it does not begin with \\x93NUMPY)");
  CHECK(refusal(npy("|O", "(2,)", "pickle")) ==
        "a.npy: an array of Python objects (dtype object), expected plain numbers; save it again "
        "with "
        ".astype(\"float32\")");
  CHECK(
      refusal(npy(">f4", "(1,)", "1234")) ==
      "a.npy: dtype '>f4' is not supported, expected little-endian float32, float64, int32, int64, "
      "uint8 or bool");
  CHECK(refusal(npy_with_header("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
                                "1234")) ==
        "a.npy: a structured array (records with named fields), expected plain numbers; save each "
        "field as an array of its own");
  std::string version = npy("<f4", "(1,)", "1234");
  version[6] = 9;
  CHECK(refusal(version) == "a.npy: .npy version 9, expected 1, 2 or 3");
}

TEST_CASE("damaged headers are refused where they are damaged") {
  CHECK(refusal(npy_with_header("{'descr': '<f4', 'shape': (1,)}", "1234")) ==
        "a.npy: the .npy header is damaged near byte 31 of its text");
  CHECK(refusal(npy("<f4", "(-1,)", "1234")) ==
        "a.npy: the .npy header is damaged near byte 51 of its text");
  CHECK(refusal(npy("<f4", "(4611686018427387904, 8)", "")) ==
        "a.npy: the .npy header gives an impossible shape float32[4611686018427387904,8]");
  CHECK(refusal(npy("<f4", "(0, 4611686018427387904, 8)", "")) ==
        "a.npy: the .npy header gives an impossible shape float32[0,4611686018427387904,8]");
  CHECK(refusal(npy("<f4", "(99999999999999999999,)", "")).find("damaged") != std::string::npos);
}

TEST_CASE("every truncation and thousands of flipped bits are read or refused, never more") {
  const std::string good = npy("<f8", "(2, 3)", std::string(48, '\0'), true);
  for (std::size_t size = 0; size < good.size(); ++size)
    CHECK_THROWS_AS(parse(good.substr(0, size)), UserError);
  Chooser choose{1};
  int refused = 0;
  for (int i = 0; i < 5000; ++i) {
    std::string bad = good;
    for (int flips = 0; flips <= i % 3; ++flips)
      bad[choose.below(bad.size())] ^= static_cast<char>(1 << choose.below(8));
    refused += refusal(bad) != "(nothing was thrown)";
  }
  CHECK(refused > 2000);
}

TEST_CASE("the first NaN or infinity is named by row and column") {
  Array array = parse(npy("<f4", "(2, 3)", raw<float>({1, 2, 3, 4, 5, NAN})));
  CHECK(message_of<UserError>([&] { check_finite(array); }) ==
        "a.npy: nan at row 1, column 2 (from 0) of float32[2,3]; every value must be finite");
  array = parse(npy("<f8", "(3,)", raw<double>({1, -INFINITY, NAN})));
  CHECK(message_of<UserError>([&] { check_finite(array); }) ==
        "a.npy: -inf at row 1 (from 0) of float64[3]; every value must be finite");
  CHECK_NOTHROW(check_finite(parse(npy("<f4", "()", raw(1.0f)))));
}

}  // namespace
}  // namespace mixflow
