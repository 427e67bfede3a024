#include "data/safetensors.h"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <cmath>
#include <limits>

#include "../util/testing.h"
#include "bytes.h"
#include "util/error.h"

namespace mixflow {
namespace {

template <class T>
NamedTensor tensor(const std::string& name, StoredType type, const Shape& shape,
                   const std::vector<T>& values) {
  return {name, type, shape, as_bytes(raw(values))};
}

TensorFile example_file() {
  TensorFile file;
  file.metadata = {{"step", "12"}, {"made by", "a \"test\""}};
  file.tensors = {
      tensor<std::int32_t>("data.y", StoredType::i32, {3}, {1, -2, 3}),
      tensor<double>("eta.lr", StoredType::f64, {}, {0.25}),
      tensor<float>("eta.init.layers.0.weight", StoredType::f32, {2, 2}, {1, 2, 3, -0.0f}),
      tensor<std::int64_t>("step", StoredType::i64, {1}, {1LL << 40}),
      tensor<float>("empty", StoredType::f32, {0, 7}, {}),
  };
  return file;
}

std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string file_with(const std::string& header, const std::string& data = "") {
  return raw(static_cast<std::uint64_t>(header.size())) + header + data;
}
std::string safetensors_refusal(const std::string& file) {
  return message_of<UserError>([&] { parse_safetensors(as_bytes(file), "a.safetensors"); });
}

TEST_CASE("what is written is read back: every type, scalars, empty tensors, metadata") {
  const TemporaryDirectory directory;
  write_safetensors(directory / "a.safetensors", example_file());
  const TensorFile found = read_safetensors(directory / "a.safetensors");
  CHECK(found.metadata == example_file().metadata);
  REQUIRE(found.tensors.size() == 5);
  for (const NamedTensor& expected : example_file().tensors) {
    REQUIRE(found.find(expected.name) != nullptr);
    CHECK(*found.find(expected.name) == expected);
  }
  CHECK(found.find("eta") == nullptr);
  CHECK(directory.entries() == 1);
}

TEST_CASE("every tensor is aligned to its element") {
  const std::string bytes = text_of(format_safetensors(example_file()));
  std::uint64_t header_size = 0;
  std::memcpy(&header_size, bytes.data(), 8);
  CHECK(header_size % 8 == 0);
  // Wide elements first: step and eta.lr, then data.y and the weight.
  CHECK(bytes.find("\"eta.lr\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,8]}") !=
        std::string::npos);
  CHECK(bytes.find("\"data.y\":{\"dtype\":\"I32\",\"shape\":[3],\"data_offsets\":[16,28]}") !=
        std::string::npos);
}

TEST_CASE("a file of the reference implementation is read") {
  // safetensors.numpy.save({"w": [[1.5, -2, 0.25]] as f4, "n": [7, -1] as i8, "s": 0.5 as f8},
  // {"made": "elsewhere"})
  const std::string file = file_with(
      "{\"__metadata__\":{\"made\":\"elsewhere\"},\"n\":{\"dtype\":\"I64\",\"shape\":[2],"
      "\"data_offsets\":[0,16]},\"s\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[16,24]},"
      "\"w\":{\"dtype\":\"F32\",\"shape\":[1,3],\"data_offsets\":[24,36]}}      ",
      from_hex("0700000000000000ffffffffffffffff000000000000e03f0000c03f000000c00000803e"));
  const TensorFile found = parse_safetensors(as_bytes(file), "a.safetensors");
  CHECK(found.metadata.at("made") == "elsewhere");
  CHECK(*found.find("w") == tensor<float>("w", StoredType::f32, {1, 3}, {1.5f, -2, 0.25f}));
  CHECK(*found.find("n") == tensor<std::int64_t>("n", StoredType::i64, {2}, {7, -1}));
  CHECK(*found.find("s") == tensor<double>("s", StoredType::f64, {}, {0.5}));
}

TEST_CASE("tensors are copied out as another type where nothing is lost by surprise") {
  const auto copy = [](const NamedTensor& from, auto to_example, DType dtype) {
    std::vector<decltype(to_example)> to(static_cast<std::size_t>(num_elements(from.shape)));
    copy_tensor(from, dtype, std::as_writable_bytes(std::span(to)), "a.safetensors");
    return to;
  };
  CHECK(copy(tensor<double>("d", StoredType::f64, {2}, {0.1, 2}), 0.0f, DType::f32) ==
        std::vector<float>{0.1f, 2});
  CHECK(copy(tensor<float>("f", StoredType::f32, {1}, {0.5f}), 0.0, DType::f64) ==
        std::vector<double>{0.5});
  CHECK(copy(tensor<std::int64_t>("i", StoredType::i64, {2}, {3, -4}), std::int32_t{0},
             DType::i32) == std::vector<std::int32_t>{3, -4});
  CHECK(copy(tensor<std::int32_t>("i", StoredType::i32, {1}, {3}), 0.0f, DType::f32) ==
        std::vector<float>{3});
  const auto refused = [&](const NamedTensor& from) {
    return message_of<UserError>([&] { copy(from, std::int32_t{0}, DType::i32); });
  };
  CHECK(refused(tensor<float>("y", StoredType::f32, {1}, {1})) ==
        "a.safetensors: y: holds F32, expected whole numbers (I32 or I64)");
  CHECK(refused(tensor<std::int64_t>("y", StoredType::i64, {1}, {1LL << 31})) ==
        "a.safetensors: y[0] is 2147483648, which does not fit 32 bits");
  CHECK(refused(tensor<std::uint64_t>("y", StoredType::u64, {1, 2}, {1, ~std::uint64_t{0}})) ==
        "a.safetensors: y[0,1] is 18446744073709551615, which does not fit 32 bits");
  CHECK(copy(tensor<std::uint8_t>("b", StoredType::boolean, {3}, {0, 1, 2}), std::int32_t{0},
             DType::i32) == std::vector<std::int32_t>{0, 1, 1});
  CHECK(copy(tensor<std::uint16_t>("u", StoredType::u16, {1}, {65535}), 0.0f, DType::f32) ==
        std::vector<float>{65535});
  CHECK(copy(tensor<std::int8_t>("i", StoredType::i8, {1}, {-3}), 0.0, DType::f64) ==
        std::vector<double>{-3});
  CHECK(message_of<UserError>(
            [&] { copy(tensor<float>("c", StoredType::other, {1}, {1}), 0.0f, DType::f32); }) ==
        "a.safetensors: c: of a type that mixflow cannot read, expected F16, BF16, F32 or F64");
}

TEST_CASE("half precision is read bit for bit: zeros, subnormal numbers, infinities") {
  // As numpy.float16 and ml_dtypes.bfloat16 give them.
  const auto copy = [](StoredType type, const std::vector<std::uint16_t>& bits) {
    std::vector<float> to(bits.size());
    copy_tensor(tensor("h", type, {static_cast<std::int64_t>(bits.size())}, bits), DType::f32,
                std::as_writable_bytes(std::span(to)), "a.safetensors");
    return to;
  };
  const float inf = std::numeric_limits<float>::infinity();
  CHECK(copy(StoredType::f16,
             {0x0000, 0x3c00, 0xc000, 0x3555, 0x0001, 0x83ff, 0x0400, 0x7bff, 0x7c00, 0xfc00}) ==
        std::vector<float>{0, 1, -2, 0.333251953125f, 0x1p-24f, -0x1.ff8p-15f, 0x1p-14f, 65504, inf,
                           -inf});
  CHECK(std::signbit(copy(StoredType::f16, {0x8000})[0]));
  CHECK(std::isnan(copy(StoredType::f16, {0x7e00})[0]));
  CHECK(copy(StoredType::bf16, {0x3f80, 0xc000, 0x3eab, 0x0001, 0x7f80}) ==
        std::vector<float>{1, -2, 0.333984375f, 0x1p-133f, inf});
}

TEST_CASE("tensors of types that are not read lie between those that are") {
  const TensorFile found = parse_safetensors(
      as_bytes(file_with(R"({"c":{"dtype":"C64","shape":[1],"data_offsets":[0,8]},)"
                         R"("q":{"dtype":"F4_E2","shape":[3],"data_offsets":[8,10]},)"
                         R"("w":{"dtype":"F32","shape":[1],"data_offsets":[10,14]}})",
                         std::string(10, 'x') + raw(2.0f))),
      "a.safetensors");
  CHECK(found.find("q")->type == StoredType::other);
  CHECK(*found.find("w") == tensor<float>("w", StoredType::f32, {1}, {2}));
}

// A tree of such a header would take gigabytes.
TEST_CASE("headers of megabytes take memory in proportion, and endless ones are refused") {
  const auto repeated = [](const std::string& piece, std::size_t bytes) {
    std::string text;
    while (text.size() < bytes) text += piece;
    return text + "0";
  };
  const std::size_t size = 8 << 20;
  rlimit before{};
  ::getrlimit(RLIMIT_DATA, &before);
  rlimit tight = before;
  tight.rlim_cur = 256 << 20;
  if (kThorough) REQUIRE(::setrlimit(RLIMIT_DATA, &tight) == 0);
  CHECK(safetensors_refusal(file_with(R"({"w":{"x":[)" + repeated("{},", size) + "]}}")) ==
        "a.safetensors: w: dtype: expected a text such as \"F32\"");
  CHECK(safetensors_refusal(file_with(R"({"w":{"shape":[)" + repeated("0,", size) + "]}}")) ==
        "a.safetensors: w: shape: more than 32 numbers");
  CHECK(safetensors_refusal(file_with(R"({"w":[)" + repeated("[],", size) + "]}")) ==
        "a.safetensors: w: expected {dtype, shape, data_offsets}");
  std::string names = "{\"__metadata__\":{\"0\":\"\"";
  for (int i = 1; names.size() < size; ++i) names += ",\"" + std::to_string(i) + "\":\"\"";
  CHECK(safetensors_refusal(file_with(names + "}}")) ==
        "a.safetensors: __metadata__: more than 10000 texts");
  CHECK(safetensors_refusal(file_with(std::string((16 << 20) + 1, ' '))) ==
        "a.safetensors: a header of 16777217 bytes, expected at most 16777216");
  ::setrlimit(RLIMIT_DATA, &before);
}

TEST_CASE("truncated files and false header sizes are refused") {
  CHECK(safetensors_refusal("1234567") == "a.safetensors: not a safetensors file (7 bytes)");
  CHECK(safetensors_refusal(raw(std::uint64_t{3}) + "{}") ==
        "a.safetensors: not a safetensors file, or truncated: a header of 3 bytes in a file of 10");
  CHECK(safetensors_refusal(raw(~std::uint64_t{0}) + "{}") ==
        "a.safetensors: not a safetensors file, or truncated: a header of 18446744073709551615 "
        "bytes in a file of 10");
  CHECK(safetensors_refusal(
            file_with(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "1234")) ==
        "a.safetensors: w: its data ends at byte 8 of the data, but the file holds 4; it may be "
        "truncated");
}

TEST_CASE("tensors must cover the data exactly once") {
  CHECK(safetensors_refusal(file_with(R"({"v":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                                      R"("w":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
                                      "123456789012")) == "a.safetensors: \"w\" overlaps \"v\"");
  CHECK(safetensors_refusal(
            file_with(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", "12345678")) ==
        "a.safetensors: no tensor owns bytes 0 to 4 of the data");
  CHECK(safetensors_refusal(
            file_with(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "12345678")) ==
        "a.safetensors: 4 bytes after the last tensor belong to none");
}

TEST_CASE("headers that contradict themselves or are none are refused with the reason") {
  const auto one = [](const std::string& tensor) {
    return file_with("{\"w\":" + tensor + "}", "1234");
  };
  CHECK(safetensors_refusal(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})")) ==
        "a.safetensors: w: 4 bytes of data, expected 8 for F32[2]");
  CHECK(safetensors_refusal(one(R"({"dtype":"BF16","shape":[3],"data_offsets":[0,4]})")) ==
        "a.safetensors: w: 4 bytes of data, expected 6 for BF16[3]");
  CHECK(safetensors_refusal(one(R"({"dtype":7,"shape":[1],"data_offsets":[0,4]})")) ==
        "a.safetensors: w: dtype: expected a text such as \"F32\"");
  CHECK(safetensors_refusal(one(R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})")) ==
        "a.safetensors: w: shape: expected a list of whole numbers >= 0");
  CHECK(safetensors_refusal(one(R"({"dtype":"F32","shape":[1.0],"data_offsets":[0,4]})")) ==
        "a.safetensors: w: shape: expected a list of whole numbers >= 0");
  CHECK(safetensors_refusal(
            one(R"({"dtype":"F32","shape":[4611686018427387904,4,0],"data_offsets":[0,0]})")) ==
        "a.safetensors: w: impossible shape [4611686018427387904,4,0]");
  CHECK(safetensors_refusal(one(R"({"dtype":"F32","shape":[1],"data_offsets":[4,0]})")) ==
        "a.safetensors: w: data_offsets: expected [begin, end] with begin <= end");
  CHECK(safetensors_refusal(one(R"({"dtype":"F32","shape":[1]})")) ==
        "a.safetensors: w: data_offsets: expected a list of whole numbers >= 0");
  CHECK(safetensors_refusal(one("3")) == "a.safetensors: w: expected {dtype, shape, data_offsets}");
  CHECK(safetensors_refusal(file_with("[1]")) == "a.safetensors: the header is not a JSON object");
  CHECK(safetensors_refusal(file_with("{\"a\"")) ==
        "a.safetensors: the header is not JSON (byte 5)");
  CHECK(safetensors_refusal(file_with("{\"a\":1e999}")) == "a.safetensors: the header is not JSON");
  CHECK(safetensors_refusal(file_with("{\"a\":{\"b\":" + std::string(100'000, '['))) ==
        "a.safetensors: a: the header is nested too deeply");
  CHECK(safetensors_refusal(one(R"({"dtype":"F32","shape":[[1]],"data_offsets":[0,4]})")) ==
        "a.safetensors: w: shape: expected a list of whole numbers >= 0");
  CHECK(
      safetensors_refusal(one(R"({"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]})")) ==
      "a.safetensors: \"shape\" occurs twice in the header");
  CHECK(safetensors_refusal(file_with(R"({"__metadata__":{"a":1}})")) ==
        "a.safetensors: __metadata__: a: expected a text");
  const std::string w = R"("w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  CHECK(safetensors_refusal(file_with("{" + w + "," + w + "}", "1234")) ==
        "a.safetensors: \"w\" occurs twice in the header");
}

TEST_CASE("every truncation and thousands of flipped bits are read or refused, never more") {
  const std::string good = text_of(format_safetensors(example_file()));
  for (std::size_t size = 0; size < good.size(); ++size)
    CHECK(safetensors_refusal(good.substr(0, size)) != "(nothing was thrown)");
  Chooser choose{3};
  int refused = 0;
  for (int i = 0; i < 4000; ++i) {
    std::string bad = good;
    for (int flips = 0; flips <= i % 4; ++flips)
      bad[choose.below(bad.size())] ^= static_cast<char>(1 << choose.below(8));
    refused += safetensors_refusal(bad) != "(nothing was thrown)";
  }
  CHECK(refused > 2000);
}

}  // namespace
}  // namespace mixflow
