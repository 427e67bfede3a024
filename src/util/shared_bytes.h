// Bytes that are kept alive by whoever reads them: a file as it is mapped from disk, or a buffer.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace mixflow {

// Copies share the bytes. A mapped file's pages are read from disk where they are touched; they
// belong to the system's cache of files and are no data of the process (RLIMIT_DATA).
class SharedBytes {
 public:
  SharedBytes() = default;

  // The whole file. Throws UserError for what does not exist, may not be read or is no regular
  // file, RunError if the disk fails. A file that is cut shorter while it is mapped ends the
  // process with a message and exit code 1 where the missing part is read.
  static SharedBytes map(const std::filesystem::path& path);
  static SharedBytes own(std::vector<std::byte> bytes);
  // Bytes of a buffer that `owner` keeps.
  static SharedBytes keep(std::shared_ptr<const void> owner, std::span<const std::byte> bytes);

  const std::byte* data() const { return bytes_.data(); }
  std::size_t size() const { return bytes_.size(); }
  std::span<const std::byte> span() const { return bytes_; }
  // A part that keeps the whole alive; it must lie inside.
  SharedBytes part(std::span<const std::byte> inside) const;

  // Whether the bytes are a file's, and cost no memory of the process's own.
  bool mapped() const { return mapped_; }
  // Lets go of mapped pages that lie wholly in the range, until they are touched again.
  void release(std::size_t offset, std::size_t size) const;

 private:
  SharedBytes(std::shared_ptr<const void> owner, std::span<const std::byte> bytes, bool mapped)
      : owner_(std::move(owner)), bytes_(bytes), mapped_(mapped) {}

  std::shared_ptr<const void> owner_;
  std::span<const std::byte> bytes_;
  bool mapped_ = false;
};

}  // namespace mixflow
