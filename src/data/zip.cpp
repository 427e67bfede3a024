#include "data/zip.h"

#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>

#include "util/error.h"

namespace mixflow {

namespace {

constexpr std::uint32_t kEndOfDirectory = 0x06054b50, kDirectoryEntry = 0x02014b50,
                        kLocalHeader = 0x04034b50;
constexpr std::size_t kEndSize = 22, kEntrySize = 46, kLocalSize = 30;
constexpr std::uint16_t kStored = 0, kDeflated = 8, kEncrypted = 1;

// Reads little-endian fields; every access is checked against the end of the archive.
class Bytes {
 public:
  Bytes(std::span<const std::byte> bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  std::span<const std::byte> slice(std::uint64_t at, std::uint64_t size) const {
    if (at > bytes_.size() || size > bytes_.size() - at) {
      throw UserError(name_ + ": truncated or damaged: a record at byte " + std::to_string(at) +
                      " goes beyond the file's " + std::to_string(bytes_.size()) + " bytes");
    }
    return bytes_.subspan(at, size);
  }
  std::uint16_t u16(std::uint64_t at) const { return static_cast<std::uint16_t>(number(at, 2)); }
  std::uint32_t u32(std::uint64_t at) const { return static_cast<std::uint32_t>(number(at, 4)); }

 private:
  std::uint64_t number(std::uint64_t at, std::size_t size) const {
    std::uint64_t value = 0;
    const auto bytes = slice(at, size);
    for (std::size_t i = size; i-- > 0;)
      value = value << 8 | std::to_integer<std::uint64_t>(bytes[i]);
    return value;
  }

  std::span<const std::byte> bytes_;
  const std::string& name_;
};

// The end record is last but for a comment of up to 65,535 bytes.
std::uint64_t find_end_record(const Bytes& bytes, std::size_t size, const std::string& name) {
  for (std::size_t back = kEndSize; back <= size && back <= kEndSize + 0xFFFF; ++back) {
    if (bytes.u32(size - back) == kEndOfDirectory) return size - back;
  }
  throw UserError(
      name + ": not a complete .npz (zip) file: its directory is missing; it may be truncated");
}

std::vector<std::byte> inflate_member(std::span<const std::byte> packed, std::size_t size,
                                      const std::string& what) {
  // Deflate cannot expand more than 1032-fold: a larger claim is a lie, and is not allocated.
  if (size / 1032 > packed.size() + 1) throw UserError(what + ": damaged (impossible size)");
  std::vector<std::byte> result(size);
  z_stream stream{};
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(result.data());
  stream.avail_out = static_cast<uInt>(size);
  // Negative window bits: raw deflate, as zip stores it, without zlib's own header.
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) throw RunError(what + ": zlib cannot start");
  const int status = inflate(&stream, Z_FINISH);
  const std::size_t written = stream.total_out;
  inflateEnd(&stream);
  if (status == Z_DATA_ERROR || (status != Z_STREAM_END && written == size)) {
    throw UserError(what + ": damaged (its compressed data is broken)");
  }
  if (status != Z_STREAM_END || written != size) {
    throw UserError(what + ": damaged: unpacks to " + std::to_string(written) +
                    " bytes, expected " + std::to_string(size));
  }
  return result;
}

std::vector<std::byte> read_entry(const Bytes& bytes, std::uint64_t entry,
                                  const std::string& what) {
  const std::uint16_t flags = bytes.u16(entry + 8);
  const std::uint16_t method = bytes.u16(entry + 10);
  const std::uint32_t checksum = bytes.u32(entry + 16);
  const std::uint32_t packed_size = bytes.u32(entry + 20);
  const std::uint32_t size = bytes.u32(entry + 24);
  const std::uint32_t local = bytes.u32(entry + 42);
  constexpr auto kInZip64 = std::numeric_limits<std::uint32_t>::max();
  if (packed_size == kInZip64 || size == kInZip64 || local == kInZip64) {
    throw UserError(what + ": larger than 4 GiB, expected less; save it as a .npy");
  }
  if (flags & kEncrypted) throw UserError(what + ": encrypted, expected a plain .npz");
  if (bytes.u32(local) != kLocalHeader)
    throw UserError(what + ": damaged (no member where one should be)");
  const std::uint64_t begin =
      std::uint64_t{local} + kLocalSize + bytes.u16(local + 26) + bytes.u16(local + 28);
  const auto packed = bytes.slice(begin, packed_size);

  std::vector<std::byte> result;
  if (method == kStored) {
    if (size != packed_size) throw UserError(what + ": damaged (two different sizes)");
    result.assign(packed.begin(), packed.end());
  } else if (method == kDeflated) {
    result = inflate_member(packed, size, what);
  } else {
    throw UserError(what + ": compressed by method " + std::to_string(method) +
                    ", expected stored or deflate (numpy.savez, numpy.savez_compressed)");
  }
  if (crc32_z(0, reinterpret_cast<const Bytef*>(result.data()), result.size()) != checksum) {
    throw UserError(what + ": damaged (its checksum does not match)");
  }
  return result;
}

}  // namespace

std::vector<std::byte> read_zip_member(std::span<const std::byte> archive, const std::string& name,
                                       const std::string& member) {
  const Bytes bytes(archive, name);
  const std::uint64_t end = find_end_record(bytes, archive.size(), name);
  const std::uint16_t count = bytes.u16(end + 10);
  std::uint64_t entry = bytes.u32(end + 16);
  std::string members;
  for (int i = 0; i < count; ++i) {
    if (bytes.u32(entry) != kDirectoryEntry) throw UserError(name + ": damaged (bad directory)");
    const std::uint16_t name_size = bytes.u16(entry + 28);
    const auto name_bytes = bytes.slice(entry + kEntrySize, name_size);
    std::string found(reinterpret_cast<const char*>(name_bytes.data()), name_bytes.size());
    if (found.ends_with(".npy")) found.resize(found.size() - 4);
    if (found == member) return read_entry(bytes, entry, name + ":" + member);
    members += (members.empty() ? "" : ", ") + found;
    entry += kEntrySize + name_size + bytes.u16(entry + 30) + bytes.u16(entry + 32);
  }
  throw UserError(name + ": " +
                  (member.empty() ? "which member? Expected " + name + ":member"
                                  : "no member \"" + member + "\"") +
                  "; it holds " + (members.empty() ? "nothing" : members));
}

}  // namespace mixflow
