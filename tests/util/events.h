// Reads TensorBoard's event files, independently of what writes them, for tests.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "train/tensorboard.h"

namespace mixflow {

struct ReadEvent {
  double wall_time = 0;
  std::int64_t step = 0;
  std::string file_version;
  std::map<std::string, float> scalars;
};

// Takes numbers off the front of bytes. Too few bytes end the test.
struct ByteReader {
  std::string_view rest;

  std::string_view take(std::uint64_t n) {
    REQUIRE(n <= rest.size());
    const std::string_view bytes = rest.substr(0, n);
    rest.remove_prefix(n);
    return bytes;
  }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= std::uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return value;
    }
    FAIL("a varint of more than 64 bits");
    return 0;
  }
  std::string_view bytes() { return take(varint()); }
  // A checksum as stored, the mask undone.
  std::uint32_t checksum() {
    const std::uint32_t rotated = number<std::uint32_t>() - 0xa282ead8u;
    return rotated << 15 | rotated >> 17;
  }
};

// Summary.Value: (1 tag, bytes), (2 simple_value, fixed32).
inline std::pair<std::string, float> read_value(std::string_view message) {
  ByteReader in{message};
  REQUIRE(in.varint() == 0x0a);
  const std::string tag(in.bytes());
  REQUIRE(in.varint() == 0x15);
  const float value = in.number<float>();
  REQUIRE(in.rest.empty());
  return {tag, value};
}

// Event: (1 wall_time, fixed64), (2 step, varint), (3 file_version, bytes), (5 summary, bytes).
inline ReadEvent read_event(std::string_view message) {
  ReadEvent event;
  for (ByteReader in{message}; !in.rest.empty();) {
    switch (const std::uint64_t key = in.varint()) {
      case 0x09:
        event.wall_time = in.number<double>();
        break;
      case 0x10:
        event.step = static_cast<std::int64_t>(in.varint());
        break;
      case 0x1a:
        event.file_version = in.bytes();
        break;
      case 0x2a:
        for (ByteReader summary{in.bytes()}; !summary.rest.empty();) {
          REQUIRE(summary.varint() == 0x0a);
          const bool is_new = event.scalars.insert(read_value(summary.bytes())).second;
          CHECK(is_new);
        }
        break;
      default:
        FAIL("a field with the key " << key);
    }
  }
  return event;
}

// Every record whole, every checksum right.
inline std::vector<ReadEvent> read_events(std::string_view file) {
  std::vector<ReadEvent> events;
  for (ByteReader in{file}; !in.rest.empty();) {
    const std::string_view length = in.rest.substr(0, 8);
    const auto size = in.number<std::uint64_t>();
    CHECK(in.checksum() == crc32c(length));
    const std::string_view data = in.take(size);
    CHECK(in.checksum() == crc32c(data));
    events.push_back(read_event(data));
  }
  return events;
}

}  // namespace mixflow
