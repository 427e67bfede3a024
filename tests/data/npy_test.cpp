#include "data/npy.h"

#include <doctest/doctest.h>

#include <cmath>

#include "../util/testing.h"
#include "bytes.h"
#include "util/error.h"

namespace mixflow {
namespace {

Array parse(const std::string& file) {
  return parse_npy(SharedBytes::own(as_bytes(file)), "a.npy");
}
std::string npy_refusal(const std::string& file) {
  return message_of<UserError>([&] { parse(file); });
}
using Numbers = std::vector<double>;

TEST_CASE("every supported dtype is read with its values") {
  const auto check = [](const std::string& file, const char* type, const Numbers& expected) {
    const Array array = parse(file);
    CHECK(array.type() == type);
    CHECK(values_of(array) == expected);
  };
  check(npy("<f4", "(2,)", raw<float>({0.5f, -3})), "float32[2]", {0.5, -3});
  check(npy("<f8", "(2,)", raw<double>({0.1, 1e300})), "float64[2]", {0.1, 1e300});
  check(npy("<i4", "(2,)", raw<std::int32_t>({-7, INT32_MAX})), "int32[2]", {-7, 2147483647.0});
  check(npy("<i8", "(2,)", raw<std::int64_t>({-7, 1LL << 40})), "int64[2]", {-7, 1099511627776.0});
  check(npy("|u1", "(3,)", std::string("\x00\x01\xff", 3)), "uint8[3]", {0, 1, 255});
  check(npy("|b1", "(2,)", std::string("\x00\x01", 2)), "bool[2]", {0, 1});
}

TEST_CASE("integers of every width, half floats and both byte orders") {
  const auto check = [](const std::string& descr, const std::string& data, const char* type,
                        const Numbers& expected) {
    const std::string shape = "(" + std::to_string(expected.size()) + ",)";
    const Array array = parse(npy(descr, shape, data));
    CHECK(array.element->name == type);
    CHECK(values_of(array) == expected);
    std::vector<float> floats(expected.size());
    array.read(0, array.elements(), floats.data());
    for (std::size_t i = 0; i < floats.size(); ++i)
      CHECK(floats[i] == static_cast<float>(expected[i]));
  };
  check("|i1", "\xff\x7f", "int8", {-1, 127});
  check("<i2", raw<std::int16_t>({-2, 300}), "int16", {-2, 300});
  check("<u2", raw<std::uint16_t>({65535, 1}), "uint16", {65535, 1});
  check("<u4", raw<std::uint32_t>({4294967295U}), "uint32", {4294967295.0});
  check("<u8", raw<std::uint64_t>({1ULL << 63}), "uint64", {9223372036854775808.0});
  check(">i2", std::string("\xff\xfe\x01\x2c", 4), "int16", {-2, 300});
  check(">u4", std::string("\0\0\1\0", 4), "uint32", {256});
  check(">i8", std::string("\xff\xff\xff\xff\xff\xff\xff\xfe", 8), "int64", {-2});
  check(">f4", std::string("\x3f\xc0\0\0", 4), "float32", {1.5});
  check(">f8", std::string("\xbf\xf8\0\0\0\0\0\0", 8), "float64", {-1.5});
  // 1, -2.5, the largest, the smallest normal and the smallest number, minus zero.
  const std::vector<std::uint16_t> halves{0x3c00, 0xc100, 0x7bff, 0x0400, 0x0001, 0x8000};
  check("<f2", raw(halves), "float16", {1, -2.5, 65504, 0x1p-14, 0x1p-24, -0.0});
  check(">f2", std::string("\x3c\0", 2), "float16", {1});
  // NumPy's name for ml_dtypes' bfloat16.
  check("<V2", raw<std::uint16_t>({0x3fc0, 0xc000, 0x7f7f}), "bfloat16", {1.5, -2, 0x1.fep127});
  check("bfloat16", raw<std::uint16_t>({0x3fc0}), "bfloat16", {1.5});
  CHECK(std::isinf(values_of(parse(npy("<f2", "(1,)", raw<std::uint16_t>({0xfc00}))))[0]));
  CHECK(std::isnan(values_of(parse(npy("<f2", "(1,)", raw<std::uint16_t>({0x7c01}))))[0]));
}

TEST_CASE("type strings of other writers than NumPy are read as np.load reads them") {
  const std::string half = raw(0.5), one = "\1";
  for (const char* descr : {"<f8", "|f8", "=f8", "f8", "d", "<d", "float64"}) {
    CHECK(values_of(parse(npy(descr, "(1,)", half))) == Numbers{0.5});
  }
  for (const char* descr : {"|b1", "<b1", "b1", "?", "|?", "<?1", "|i1", "<i1", "b", "<u1", "B"}) {
    CHECK(values_of(parse(npy(descr, "(1,)", one))) == Numbers{1});
  }
  // Any byte but 0 is true.
  CHECK(values_of(parse(npy("|b1", "(2,)", std::string("\2\0", 2)))) == Numbers{1, 0});
}

TEST_CASE("texts are read as codes of the distinct ones") {
  const auto wide = [](const std::u32string& text) {
    std::string bytes;
    for (const char32_t c : text) bytes += raw(static_cast<std::uint32_t>(c));
    return bytes;
  };
  const std::u32string three{U'c', U'a', U't', U'\u00e9', 0, 0, U'c', U'a', U't'};
  const Array array = parse(npy("<U3", "(3,)", wide(three)));
  CHECK(array.type() == "text[3]");
  CHECK(values_of(array) == Numbers{0, 1, 0});
  CHECK(array.texts == std::vector<std::string>{"cat", "\xc3\xa9"});
  CHECK(parse(npy("|S2", "(2, 1)",
                  std::string("ab"
                              "c\0",
                              4)))
            .texts == std::vector<std::string>{"ab", "c"});
  CHECK(parse(npy(">U1", "(1,)", std::string("\0\0\0z", 4))).texts ==
        std::vector<std::string>{"z"});
  CHECK(npy_refusal(npy("<U3", "(2,)", "12345")) ==
        "a.npy: truncated: 5 bytes of data found, 24 expected for text[2]");
}

TEST_CASE("shapes of every rank are read, empty ones too") {
  CHECK(parse(npy("<f4", "()", raw(2.5f))).shape == Shape{});
  CHECK(parse(npy("<f4", "(3, 0)", "")).shape == Shape{3, 0});
  const Array array = parse(npy("|u1", "(1, 2, 3)", "\1\2\3\4\5\6"));
  CHECK(array.shape == Shape{1, 2, 3});
  CHECK(array.width() == 6);
}

TEST_CASE("Fortran order comes out row-major") {
  CHECK(values_of(parse(npy("|u1", "(2, 3)", "\1\4\2\5\3\6", true))) == Numbers{1, 2, 3, 4, 5, 6});
  // numpy.asfortranarray(numpy.arange(24).reshape(2, 3, 4)), element [i,j,k] at i + 2 j + 6 k.
  std::string stored(24, '\0');
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 3; ++j)
      for (int k = 0; k < 4; ++k)
        stored[static_cast<std::size_t>(i + 2 * j + 6 * k)] = static_cast<char>(12 * i + 4 * j + k);
  const Array array = parse(npy("|u1", "(2, 3, 4)", stored, true));
  for (std::size_t i = 0; i < 24; ++i) CHECK(values_of(array)[i] == static_cast<double>(i));
  CHECK(values_of(parse(npy("|u1", "(4, 0)", "", true))).empty());
  // Elements of two bytes, the other way round as well.
  const std::string wide = raw<std::int16_t>({1, 3, 2, 4});
  CHECK(values_of(parse(npy("<i2", "(2, 2)", wide, true))) == Numbers{1, 2, 3, 4});
  CHECK(values_of(parse(npy(">i2", "(2, 2)", wide, true))) == Numbers{256, 512, 768, 1024});
}

TEST_CASE("versions 2 and 3, with a four-byte header length, are read") {
  const std::string header = "{'descr': '|u1', 'fortran_order': False, 'shape': (1,)}";
  for (char version : {'\2', '\3'}) {
    const std::string file = std::string("\x93NUMPY") + version + '\0' +
                             raw(static_cast<std::uint32_t>(header.size())) + header + "\x09";
    CHECK(values_of(parse(file)) == Numbers{9});
  }
}

TEST_CASE("a truncated or overlong file tells the bytes found and expected") {
  CHECK(npy_refusal(npy("<f4", "(10, 10)", std::string(100, 'x'))) ==
        "a.npy: truncated: 100 bytes of data found, 400 expected for float32[10,10]");
  CHECK(npy_refusal(npy("<f4", "(1,)", "12345")) ==
        "a.npy: too long: 5 bytes of data found, 4 expected for float32[1]");
  CHECK(npy_refusal(npy("<f4", "(1,)", "1234").substr(0, 40)) ==
        "a.npy: truncated inside the .npy header (40 bytes in all)");
}

TEST_CASE("what is no array of numbers is refused with the way out") {
  CHECK(npy_refusal("PK\3\4 something else") ==
        "a.npy: not a .npy file (it does not begin with \\x93NUMPY)");
  CHECK(npy_refusal("") == "a.npy: not a .npy file (it does not begin with \\x93NUMPY)");
  CHECK(npy_refusal(npy("|O", "(2,)", "pickle")) ==
        "a.npy: an array of Python objects (dtype object), expected plain numbers; save it again "
        "with "
        ".astype(\"float32\")");
  CHECK(npy_refusal(npy("<M8[ns]", "(1,)", "12345678")) ==
        "a.npy: an array of dates or times, expected plain numbers; save it again with "
        ".astype(\"int64\").astype(\"float64\")");
  CHECK(npy_refusal(npy("<c8", "(1,)", "12345678")) ==
        "a.npy: an array of complex numbers, expected plain numbers; save it again with "
        "numpy.stack([a.real, a.imag], -1)");
  CHECK(npy_refusal(npy("<f16", "(1,)", "1234567812345678")) ==
        "a.npy: an array of long doubles, expected plain numbers; save it again with "
        ".astype(\"float64\")");
  CHECK(npy_refusal(npy("|V7", "(1,)", "1234567")) ==
        "a.npy: dtype '|V7' is not supported, expected integers of 8 to 64 bits, bool, float16, "
        "bfloat16, float32 or float64; save it again with .astype(\"float32\")");
  CHECK(npy_refusal(npy_with_header(
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", "1234")) ==
        "a.npy: a structured array (records with named fields), expected plain numbers; save each "
        "field as an array of its own");
  std::string version = npy("<f4", "(1,)", "1234");
  version[6] = 9;
  CHECK(npy_refusal(version) == "a.npy: .npy version 9, expected 1, 2 or 3");
}

TEST_CASE("damaged headers are refused where they are damaged") {
  CHECK(npy_refusal(npy_with_header("{'descr': '<f4', 'shape': (1,)}", "1234")) ==
        "a.npy: the .npy header is damaged near byte 31 of its text");
  CHECK(npy_refusal(npy("<f4", "(-1,)", "1234")) ==
        "a.npy: the .npy header is damaged near byte 51 of its text");
  CHECK(npy_refusal(npy("<f4", "(4611686018427387904, 8)", "")) ==
        "a.npy: the .npy header gives an impossible shape float32[4611686018427387904,8]");
  CHECK(npy_refusal(npy("<f4", "(0, 4611686018427387904, 8)", "")) ==
        "a.npy: the .npy header gives an impossible shape float32[0,4611686018427387904,8]");
  CHECK(npy_refusal(npy("<f4", "(99999999999999999999,)", "")).find("damaged") !=
        std::string::npos);
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
    refused += npy_refusal(bad) != "(nothing was thrown)";
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
