// What the fuzz targets share. A target gives its bytes to one of mixflow's readers; whatever they
// are, the reader takes them or throws UserError. Anything else is a fault: another exception, a
// sanitizer's report, much time or memory.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "util/error.h"

namespace mixflow {

inline std::string text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// Whether `read` took its input.
template <class Read>
bool takes(const Read& read) {
  try {
    read();
    return true;
  } catch (const UserError&) {
    return false;
  }
}

// For what must hold of an input that was taken.
inline void must(bool holds) {
  if (!holds) std::abort();
}

// A directory in memory for readers that open files.
inline const std::filesystem::path& scratch() {
  static const std::filesystem::path path = [] {
    std::string name = "/dev/shm/mixflow-fuzz-XXXXXX";
    std::filesystem::path made = ::mkdtemp(name.data());
    std::atexit([] {
      std::error_code ignored;
      std::filesystem::remove_all(scratch(), ignored);
    });
    return made;
  }();
  return path;
}

// Its path. The file is a new one each time, since readers may map it.
inline std::string scratch_file(const char* name, const std::uint8_t* data, std::size_t size) {
  const std::filesystem::path path = scratch() / name;
  ::unlink(path.c_str());
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  return path.string();
}

}  // namespace mixflow

#define MIXFLOW_FUZZ_TARGET(data, size)                                              \
  extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size); \
  extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
