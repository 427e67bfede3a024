#include "data/zip.h"

#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>
#include <utility>

#include "util/error.h"
#include "util/memory.h"

namespace mixflow {

namespace {

constexpr std::uint32_t kEndOfDirectory = 0x06054b50, kDirectoryEntry = 0x02014b50,
                        kLocalHeader = 0x04034b50, kEndOfDirectory64 = 0x06064b50,
                        kLocator64 = 0x07064b50;
constexpr std::size_t kEndSize = 22, kEntrySize = 46, kLocalSize = 30, kLocatorSize = 20;
constexpr std::uint16_t kStoredMethod = 0, kDeflated = 8, kEncrypted = 1, kExtra64 = 1;
// A field of this value has the true one in a zip64 record.
constexpr auto kIn64 = std::numeric_limits<std::uint32_t>::max();
constexpr auto kCountIn64 = std::numeric_limits<std::uint16_t>::max();
// ZipBytes that are unpacked or summed up in one go; below zlib's own limit of 32 bits.
constexpr std::size_t kMemberPiece = 1 << 20;

// Reads little-endian fields; every access is checked against the end of the archive.
class ZipBytes {
 public:
  ZipBytes(std::span<const std::byte> bytes, const std::string& name)
      : bytes_(bytes), name_(name) {}

  std::span<const std::byte> slice(std::uint64_t at, std::uint64_t size) const {
    if (at > bytes_.size() || size > bytes_.size() - at) {
      throw UserError(name_ + ": truncated or damaged: a record at byte " + std::to_string(at) +
                      " goes beyond the file's " + std::to_string(bytes_.size()) + " bytes");
    }
    return bytes_.subspan(at, size);
  }
  std::uint16_t u16(std::uint64_t at) const { return static_cast<std::uint16_t>(number(at, 2)); }
  std::uint32_t u32(std::uint64_t at) const { return static_cast<std::uint32_t>(number(at, 4)); }
  std::uint64_t u64(std::uint64_t at) const { return number(at, 8); }

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
std::uint64_t find_end_record(const ZipBytes& bytes, std::size_t size, const std::string& name) {
  for (std::size_t back = kEndSize; back <= size && back <= kEndSize + 0xFFFF; ++back) {
    if (bytes.u32(size - back) == kEndOfDirectory) return size - back;
  }
  throw UserError(
      name + ": not a complete .npz (zip) file: its directory is missing; it may be truncated");
}

// Where the directory begins, and how many entries it has.
struct Directory {
  std::uint64_t begin = 0, entries = 0;
};

Directory find_directory(const ZipBytes& bytes, std::size_t size, const std::string& name) {
  const std::uint64_t end = find_end_record(bytes, size, name);
  Directory directory{.begin = bytes.u32(end + 16), .entries = bytes.u16(end + 10)};
  if (directory.begin != kIn64 && directory.entries != kCountIn64) return directory;
  if (end < kLocatorSize || bytes.u32(end - kLocatorSize) != kLocator64) return directory;
  const std::uint64_t end64 = bytes.u64(end - kLocatorSize + 8);
  if (bytes.u32(end64) != kEndOfDirectory64) throw UserError(name + ": damaged (bad directory)");
  return {.begin = bytes.u64(end64 + 48), .entries = bytes.u64(end64 + 32)};
}

// Sizes and place of an entry; those that 32 bits do not hold follow each other in an extra field.
struct Extents {
  std::uint64_t size = 0, packed_size = 0, local = 0;
};

Extents extents_of(const ZipBytes& bytes, std::uint64_t entry, const std::string& what) {
  Extents extents{.size = bytes.u32(entry + 24),
                  .packed_size = bytes.u32(entry + 20),
                  .local = bytes.u32(entry + 42)};
  const std::uint64_t begin = entry + kEntrySize + bytes.u16(entry + 28);
  const std::uint64_t end = begin + bytes.u16(entry + 30);
  std::uint64_t at = begin;
  while (at + 4 <= end && bytes.u16(at) != kExtra64) at += 4 + bytes.u16(at + 2);
  std::uint64_t next = at + 4;
  const std::uint64_t stop = at + 4 <= end ? next + bytes.u16(at + 2) : next;
  for (std::uint64_t* field : {&extents.size, &extents.packed_size, &extents.local}) {
    if (*field != kIn64) continue;
    if (next + 8 > stop) throw UserError(what + ": damaged (a size is missing)");
    *field = bytes.u64(next);
    next += 8;
  }
  return extents;
}

ZipMember member_at(const SharedBytes& archive, const ZipBytes& bytes, std::uint64_t entry,
                    const std::string& what) {
  const Extents extents = extents_of(bytes, entry, what);
  const std::uint16_t method = bytes.u16(entry + 10);
  if (bytes.u16(entry + 8) & kEncrypted) {
    throw UserError(what + ": encrypted, expected a plain .npz");
  }
  if (method != kStoredMethod && method != kDeflated) {
    throw UserError(what + ": compressed by method " + std::to_string(method) +
                    ", expected stored or deflate (numpy.savez, numpy.savez_compressed)");
  }
  if (bytes.u32(extents.local) != kLocalHeader)
    throw UserError(what + ": damaged (no member where one should be)");
  const std::uint64_t begin =
      extents.local + kLocalSize + bytes.u16(extents.local + 26) + bytes.u16(extents.local + 28);
  ZipMember member{.what = what,
                   .packed = archive.part(bytes.slice(begin, extents.packed_size)),
                   .deflated = method == kDeflated,
                   .size = extents.size,
                   .checksum = bytes.u32(entry + 16)};
  if (!member.deflated && extents.size != extents.packed_size) {
    throw UserError(what + ": damaged (two different sizes)");
  }
  // Deflate cannot expand more than 1032-fold: a larger claim is a lie, and is not allocated.
  if (member.size / 1032 > member.packed.size() + 1) {
    throw UserError(what + ": damaged (impossible size)");
  }
  return member;
}

// Unpacks a deflated member piece by piece.
class Inflater {
 public:
  explicit Inflater(const ZipMember& member) : member_(member) {
    // Negative window bits: raw deflate, as zip stores it, without zlib's own header.
    if (inflateInit2(&stream_, -MAX_WBITS) != Z_OK) {
      throw RunError(member.what + ": zlib cannot start");
    }
  }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  // The next bytes, as many as `out` holds; false where the member has fewer.
  bool fill(std::span<std::byte> out) {
    while (!out.empty()) {
      const std::size_t before = written_;
      const bool more = step(out.first(std::min(out.size(), kMemberPiece)));
      out = out.subspan(written_ - before);
      if (!more) return out.empty();
    }
    return true;
  }
  // Whether nothing follows.
  bool at_end() {
    std::byte spare{};
    while (!ended_ && written_ == member_.size) {
      if (!step(std::span(&spare, 1))) break;
    }
    return ended_ && written_ == member_.size;
  }
  std::size_t written() const { return written_; }

 private:
  // False at the end of the data.
  bool step(std::span<std::byte> out) {
    if (ended_) return false;
    const std::size_t offset = read_;
    const std::size_t piece = std::min(member_.packed.size() - offset, kMemberPiece);
    stream_.next_in =
        reinterpret_cast<Bytef*>(const_cast<std::byte*>(member_.packed.data())) + offset;
    stream_.avail_in = static_cast<uInt>(piece);
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(out.size());
    const int status = inflate(&stream_, Z_NO_FLUSH);
    const std::size_t used = piece - stream_.avail_in, made = out.size() - stream_.avail_out;
    read_ += used;
    written_ += made;
    member_.packed.release(offset, used);
    if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR) {
      throw UserError(member_.what + ": damaged (its compressed data is broken)");
    }
    ended_ = status == Z_STREAM_END;
    return !ended_ && (used > 0 || made > 0);
  }

  const ZipMember& member_;
  z_stream stream_{};
  std::size_t read_ = 0, written_ = 0;
  bool ended_ = false;
};

void check_sum(const ZipMember& member, const SharedBytes& bytes) {
  uLong sum = crc32_z(0, nullptr, 0);
  for (std::size_t at = 0; at < bytes.size(); at += kMemberPiece) {
    const std::size_t piece = std::min(kMemberPiece, bytes.size() - at);
    sum = crc32_z(sum, reinterpret_cast<const Bytef*>(bytes.data() + at), piece);
    bytes.release(at, piece);
  }
  if (sum != member.checksum) {
    throw UserError(member.what + ": damaged (its checksum does not match)");
  }
}

SharedBytes unpack(const ZipMember& member) {
  std::vector<std::byte> result(member.size);
  Inflater inflater(member);
  if (!inflater.fill(result)) {
    throw UserError(member.what + ": damaged: unpacks to " + std::to_string(inflater.written()) +
                    " bytes, expected " + std::to_string(member.size));
  }
  if (!inflater.at_end()) {
    throw UserError(member.what + ": damaged (its compressed data is broken)");
  }
  return SharedBytes::own(std::move(result));
}

}  // namespace

ZipMember find_zip_member(const SharedBytes& archive, const std::string& name,
                          const std::string& member) {
  const ZipBytes bytes(archive.span(), name);
  const Directory directory = find_directory(bytes, archive.size(), name);
  std::uint64_t entry = directory.begin;
  std::string members;
  for (std::uint64_t i = 0; i < directory.entries; ++i) {
    if (bytes.u32(entry) != kDirectoryEntry) throw UserError(name + ": damaged (bad directory)");
    const std::uint16_t name_size = bytes.u16(entry + 28);
    const auto name_bytes = bytes.slice(entry + kEntrySize, name_size);
    const std::string full(reinterpret_cast<const char*>(name_bytes.data()), name_bytes.size());
    std::string found = full;
    if (found.ends_with(".npy")) found.resize(found.size() - 4);
    if (found == member || (full == member && !member.empty())) {
      return member_at(archive, bytes, entry, name + ":" + found);
    }
    if (members.size() < 1000) members += (members.empty() ? "" : ", ") + found;
    entry += kEntrySize + name_size + bytes.u16(entry + 30) + bytes.u16(entry + 32);
  }
  throw UserError(name + ": " +
                  (member.empty() ? "which member? Expected " + name + ":member"
                                  : "no member \"" + member + "\"") +
                  "; it holds " + (members.empty() ? "nothing" : members));
}

SharedBytes read_zip_member(const SharedBytes& archive, const std::string& name,
                            const std::string& member) {
  const ZipMember found = find_zip_member(archive, name, member);
  const std::int64_t usable = usable_memory_bytes();
  if (found.deflated && found.size > static_cast<std::uint64_t>(usable)) {
    throw UserError(found.what + ": unpacks to " +
                    format_bytes(static_cast<std::int64_t>(found.size)) + ", more than the " +
                    format_bytes(usable) + " of memory that this process may use");
  }
  const SharedBytes bytes = found.deflated ? unpack(found) : found.packed;
  check_sum(found, bytes);
  return bytes;
}

std::vector<std::byte> unpack_begin(const ZipMember& member, std::size_t most) {
  std::vector<std::byte> begin(std::min<std::size_t>(member.size, most));
  if (!member.deflated) {
    std::copy_n(member.packed.data(), begin.size(), begin.begin());
    return begin;
  }
  Inflater inflater(member);
  if (!inflater.fill(begin)) begin.resize(inflater.written());
  return begin;
}

}  // namespace mixflow
