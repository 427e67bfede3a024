// A buffer between guard bytes, for tests that a kernel writes nothing outside its output and
// scratch.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <vector>

namespace mixflow::testing {

inline constexpr float kInf = std::numeric_limits<float>::infinity();
inline constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

class Guarded {
 public:
  // `offset` moves the data off the 64-byte boundary by so many bytes.
  explicit Guarded(std::int64_t bytes, std::size_t offset = 0)
      : bytes_(static_cast<std::size_t>(bytes)),
        storage_(bytes_ + 2 * kGuard + 64 + offset, kPattern) {
    auto address = reinterpret_cast<std::uintptr_t>(storage_.data()) + kGuard;
    address = (address + 63) / 64 * 64 + offset;
    start_ = address - reinterpret_cast<std::uintptr_t>(storage_.data());
  }

  std::byte* data() { return storage_.data() + start_; }
  template <class T>
  T* as() {
    return reinterpret_cast<T*>(data());
  }
  bool intact() const {
    const auto is_pattern = [](std::byte b) { return b == kPattern; };
    const auto begin = storage_.begin() + static_cast<std::ptrdiff_t>(start_);
    return std::all_of(storage_.begin(), begin, is_pattern) &&
           std::all_of(begin + static_cast<std::ptrdiff_t>(bytes_), storage_.end(), is_pattern);
  }

 private:
  static constexpr std::size_t kGuard = 256;
  static constexpr std::byte kPattern{0xA5};
  std::size_t bytes_;
  std::vector<std::byte> storage_;
  std::size_t start_ = 0;
};

}  // namespace mixflow::testing
