#include "util/content_hash.h"

#include <xxhash.h>

#include <cstdint>
#include <cstdio>
#include <new>
#include <vector>

#include "util/input_file.h"

namespace mixflow {

ContentHash::ContentHash() : state_(XXH3_createState()) {
  if (state_ == nullptr) throw std::bad_alloc();
  XXH3_128bits_reset(state_);
}

ContentHash::~ContentHash() { XXH3_freeState(state_); }

ContentHash::ContentHash(const ContentHash& other) : ContentHash() {
  XXH3_copyState(state_, other.state_);
}

ContentHash& ContentHash::operator=(const ContentHash& other) {
  if (this != &other) XXH3_copyState(state_, other.state_);
  return *this;
}

void ContentHash::add(std::span<const std::byte> bytes) {
  XXH3_128bits_update(state_, bytes.data(), bytes.size());
}

void ContentHash::add(std::string_view text) {
  add(std::as_bytes(std::span(text.data(), text.size())));
}

std::string ContentHash::digits() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(state_);
  char text[kDigits + 1];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(hash.high64),
                static_cast<unsigned long long>(hash.low64));
  return text;
}

std::string hash_of_text(std::string_view text) {
  ContentHash hash;
  hash.add(text);
  return hash.digits();
}

std::int64_t add_file(const std::filesystem::path& path, ContentHash& hash) {
  constexpr std::size_t kPiece = std::size_t{1} << 20;
  const InputFile file(path);
  std::vector<std::byte> piece(kPiece);
  std::int64_t bytes = 0;
  while (const std::size_t size = file.read_some(bytes, piece)) {
    hash.add(std::span(piece).first(size));
    bytes += static_cast<std::int64_t>(size);
  }
  return bytes;
}

}  // namespace mixflow
