#include "data/zip.h"

#include <doctest/doctest.h>
#include <zlib.h>

#include "../util/testing.h"
#include "bytes.h"
#include "data/array.h"
#include "util/error.h"
#include "util/file.h"

namespace mixflow {
namespace {

// numpy.savez_compressed(f, x=numpy.full((40, 2), 1.5, "f4"), label=numpy.arange(3))
const std::string kCompressed = from_hex(
    "504b03042d000000080000002100ea33c5b3ffffffffffffffff05001400782e6e707901001000c001000000000000"
    "4f"
    "000000000000009bec17ea1b10c9c850c650ad9e925a9c5ca46ea5a06e9366a2aea3a09e965f54529498179f5f9492"
    "0a"
    "12774bcc294e058a17672416a402f91a26063a0a469a3a0ab50ae4022e068603f6a3987c0c00504b03042d00000008"
    "00"
    "00002100f74012eaffffffffffffffff090014006c6162656c2e6e7079010010009800000000000000"
    "4c000000000000009bec17ea1b10c9c850c650ad9e925a9c5ca46ea5a06e9369a1aea3a09e965f54529498179f5f94"
    "92"
    "0a12774bcc294e058a17672416a402f91ac63a9a3a0ab50a14002e06286084d24c501a00504b01022d032d00000008"
    "00"
    "00002100ea33c5b34f000000c0010000050000000000000000000000800100000000782e6e7079504b01022d032d00"
    "00"
    "00080000002100f74012ea4c000000980000000900000000000000000000008001860000006c6162656c2e6e707950"
    "4b"
    "050600000000020002006a0000000d0100000000");

struct Member {
  std::string name, packed;
  std::uint32_t size, checksum;
  std::uint16_t method;
};

std::string zip(const Member& member, const std::string& comment = "") {
  const auto u16 = [](std::size_t v) { return raw(static_cast<std::uint16_t>(v)); };
  const auto u32 = [](std::size_t v) { return raw(static_cast<std::uint32_t>(v)); };
  const std::string common = u16(20) + u16(0) + u16(member.method) + u32(0) + u32(member.checksum) +
                             u32(member.packed.size()) + u32(member.size) +
                             u16(member.name.size()) + u16(0);
  const std::string local = "PK\3\4" + common + member.name + member.packed;
  const std::string entry =
      "PK\1\2" + u16(20) + common + u16(0) + u16(0) + u16(0) + u32(0) + u32(0) + member.name;
  return local + entry + "PK\5\6" + u16(0) + u16(0) + u16(1) + u16(1) + u32(entry.size()) +
         u32(local.size()) + u16(comment.size()) + comment;
}

std::string read_member(const std::string& archive, const std::string& member) {
  const auto bytes = read_zip_member(SharedBytes::own(as_bytes(archive)), "a.npz", member);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
std::string zip_refusal(const std::string& archive, const std::string& member) {
  return message_of<UserError>([&] { read_member(archive, member); });
}

constexpr std::uint32_t kChecksumOfHello = 0x3610a686;  // CRC-32 of "hello"

TEST_CASE("stored members are read, with or without .npy in their name and behind a comment") {
  CHECK(read_member(zip({"x.npy", "hello", 5, kChecksumOfHello, 0}), "x") == "hello");
  CHECK(read_member(zip({"x", "hello", 5, kChecksumOfHello, 0}, "made by hand"), "x") == "hello");
}

TEST_CASE("a deflated member is unpacked") {
  // One final, stored block: 01, length, its complement, the bytes.
  CHECK(read_member(zip({"x.npy", std::string("\x01\x05\x00\xfa\xff", 5) + "hello", 5,
                         kChecksumOfHello, 8}),
                    "x") == "hello");
}

TEST_CASE("a compressed .npz of NumPy's is read through its path and member") {
  const TemporaryDirectory directory;
  write_atomically(directory / "c.npz", kCompressed);
  const Array x = read_array(directory / "c.npz:x");
  CHECK(x.type() == "float32[40,2]");
  CHECK(values_of(x) == std::vector<double>(80, 1.5));
  CHECK(x.owned_bytes == 448);
  CHECK(x.name == directory / "c.npz:x");
  CHECK(values_of(read_array(directory / "c.npz:label")) == std::vector<double>{0, 1, 2});
  CHECK(message_of<UserError>([&] { read_array(directory / "c.npz:y"); }) ==
        directory / "c.npz: no member \"y\"; it holds x, label");
  CHECK(message_of<UserError>([&] { read_array(directory / "c.npz"); }) ==
        directory / "c.npz: which member? Expected " +
            (directory / "c.npz:member; it holds x, label"));
}

TEST_CASE("what a member holds is known without unpacking it") {
  const TemporaryDirectory directory;
  write_atomically(directory / "c.npz", kCompressed);
  const ArraySchema schema = read_array_schema(directory / "c.npz:x");
  CHECK(schema.type() == "float32[40,2]");
  CHECK(schema.owned_bytes == 448);  // 128 of header
  // Damage behind the header goes unseen here.
  std::string bad = kCompressed;
  bad[bad.find("label") - 40] ^= 1;
  write_atomically(directory / "c.npz", bad);
  CHECK_NOTHROW(read_array_schema(directory / "c.npz:x"));
  CHECK_THROWS_AS(read_array(directory / "c.npz:x"), UserError);
}

TEST_CASE("a stored member is read where it lies in the mapped archive") {
  const TemporaryDirectory directory;
  const std::string array = npy("|u1", "(3,)", "abc");
  const auto sum = static_cast<std::uint32_t>(
      crc32_z(0, reinterpret_cast<const Bytef*>(array.data()), array.size()));
  write_atomically(directory / "s.npz",
                   zip({"x.npy", array, static_cast<std::uint32_t>(array.size()), sum, 0}));
  const Array x = read_array(directory / "s.npz:x");
  CHECK(values_of(x) == std::vector<double>{97, 98, 99});
  CHECK(x.bytes.mapped());
  CHECK(x.owned_bytes == 0);
  CHECK(values_of(read_array(directory / "s.npz:x.npy")) == values_of(x));
}

TEST_CASE("sizes and places that 32 bits do not hold are in zip64 records") {
  // As numpy.savez beyond 4 GiB, with small numbers in the wide fields.
  const auto u16 = [](std::size_t v) { return raw(static_cast<std::uint16_t>(v)); };
  const auto u32 = [](std::size_t v) { return raw(static_cast<std::uint32_t>(v)); };
  const auto u64 = [](std::size_t v) { return raw(static_cast<std::uint64_t>(v)); };
  const std::string common = u16(45) + u16(0) + u16(0) + u32(0) + u32(kChecksumOfHello);
  const std::string wide = u16(1) + u16(24) + u64(5) + u64(5) + u64(0);
  const std::string local = "PK\3\4" + common + u32(0xFFFFFFFF) + u32(0xFFFFFFFF) + u16(1) +
                            u16(20) + "x" + u16(1) + u16(16) + u64(5) + u64(5) + "hello";
  const std::string entry = "PK\1\2" + u16(45) + common + u32(0xFFFFFFFF) + u32(0xFFFFFFFF) +
                            u16(1) + u16(wide.size()) + u16(0) + u16(0) + u16(0) + u32(0) +
                            u32(0xFFFFFFFF) + "x" + wide;
  const std::size_t end64 = local.size() + entry.size();
  const std::string archive =
      local + entry + "PK\6\6" + u64(44) + u16(45) + u16(45) + u32(0) + u32(0) + u64(1) + u64(1) +
      u64(entry.size()) + u64(local.size()) + "PK\6\7" + u32(0) + u64(end64) + u32(1) + "PK\5\6" +
      u16(0) + u16(0) + u16(0xFFFF) + u16(0xFFFF) + u32(0xFFFFFFFF) + u32(0xFFFFFFFF) + u16(0);
  CHECK(read_member(archive, "x") == "hello");
}

TEST_CASE("damaged and unsupported members are named with what is wrong") {
  const std::string deflated = std::string("\x01\x05\x00\xfa\xff", 5) + "hello";
  CHECK(zip_refusal(zip({"x", "hellO", 5, kChecksumOfHello, 0}), "x") ==
        "a.npz:x: damaged (its checksum does not match)");
  CHECK(zip_refusal(zip({"x", "hello", 4, kChecksumOfHello, 0}), "x") ==
        "a.npz:x: damaged (two different sizes)");
  CHECK(zip_refusal(zip({"x", "hello", 5, kChecksumOfHello, 12}), "x") ==
        "a.npz:x: compressed by method 12, expected stored or deflate (numpy.savez, "
        "numpy.savez_compressed)");
  CHECK(zip_refusal(zip({"x", deflated, 6, kChecksumOfHello, 8}), "x") ==
        "a.npz:x: damaged: unpacks to 5 bytes, expected 6");
  CHECK(zip_refusal(zip({"x", "\xff\xff\xff", 5, kChecksumOfHello, 8}), "x") ==
        "a.npz:x: damaged (its compressed data is broken)");
  CHECK(zip_refusal(zip({"x", deflated, 4'000'000'000, kChecksumOfHello, 8}), "x") ==
        "a.npz:x: damaged (impossible size)");
  CHECK(zip_refusal(zip({"x", "hello", 0xFFFFFFFF, kChecksumOfHello, 0}), "x") ==
        "a.npz:x: damaged (a size is missing)");
  CHECK(zip_refusal("not a zip", "x") ==
        "a.npz: not a complete .npz (zip) file: its directory is missing; it may be truncated");
}

TEST_CASE("every truncation of an archive is refused, and flipped bits never give other bytes") {
  const std::string whole = read_member(kCompressed, "x");
  for (std::size_t size = 0; size < kCompressed.size(); ++size) {
    CHECK_THROWS_AS(read_member(kCompressed.substr(0, size), "x"), UserError);
  }
  Chooser choose{2};
  int refused = 0;
  for (int i = 0; i < 5000; ++i) {
    std::string bad = kCompressed;
    bad[choose.below(bad.size())] ^= static_cast<char>(1 << choose.below(8));
    std::string unpacked = whole;
    try {
      unpacked = read_member(bad, "x");
    } catch (const UserError&) {
      ++refused;
    }
    REQUIRE(unpacked == whole);
  }
  CHECK(refused > 1000);
}

}  // namespace
}  // namespace mixflow
