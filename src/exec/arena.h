// Memory straight from the kernel: one mapping, touched once before it is used, never grown.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mixflow {

class Arena {
 public:
  enum class Kind : std::uint8_t {
    touched,  // readable and writable, every page faulted in now
    working,  // the same, but faulted in by touch()
    zeros,    // read-only zeros: costs address space, not memory
  };
  // Throws RunError if the system has not that much memory.
  Arena(std::int64_t bytes, Kind kind);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  std::byte* data() const { return data_; }
  std::int64_t bytes() const { return bytes_; }
  // Faults every page in that is not yet, `threads` a share each: memory comes from the node of the
  // thread that touches it first. Once.
  void touch(int threads);
  bool is_touched() const { return touched_; }
  // From now on a write is a fault (checked runs), or is allowed again.
  void set_read_only(bool read_only);

 private:
  std::byte* data_ = nullptr;
  std::int64_t bytes_ = 0;
  bool touched_ = false;
};

// Faults the pages of `bytes` bytes in: memory that nothing is kept in yet.
void touch_pages(std::byte* data, std::int64_t bytes);

}  // namespace mixflow
