// A hash of text that is the same on every machine and in every version: names in users' results
// depend on it.
#pragma once

#include <cstdint>
#include <string_view>

namespace mixflow {

// FNV-1a of 64 bits (Fowler, Noll, Vo), its bits mixed once more by the finaliser of MurmurHash3.
constexpr std::uint64_t hash_of(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  }
  hash = (hash ^ (hash >> 33U)) * 0xff51afd7ed558ccdU;
  hash = (hash ^ (hash >> 33U)) * 0xc4ceb9fe1a85ec53U;
  return hash ^ (hash >> 33U);
}

}  // namespace mixflow
