// Fingerprints of files and of bytes as they come: XXH3 of 128 bits (the xxHash library). They
// notice damage and change, not forgery.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

struct XXH3_state_s;

namespace mixflow {

class ContentHash {
 public:
  static constexpr std::size_t kDigits = 32;

  ContentHash();
  ~ContentHash();
  ContentHash(const ContentHash& other);
  ContentHash& operator=(const ContentHash& other);

  void add(std::span<const std::byte> bytes);
  void add(std::string_view text);
  // Of all that was added so far: kDigits hexadecimal digits.
  std::string digits() const;

 private:
  XXH3_state_s* state_;
};

std::string hash_of_text(std::string_view text);

// Adds the bytes of a file, a piece at a time, and returns how many there were. Throws as InputFile
// does.
std::int64_t add_file(const std::filesystem::path& path, ContentHash& hash);

}  // namespace mixflow
