// What tests of all folders share.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace mixflow {

// Sanitizers make runs ten times as slow: tests of many cases take fewer of them there, and those
// that count a plan's products or compare modes by their numbers alone are left to other builds.
#ifdef __SANITIZE_ADDRESS__
inline constexpr bool kThorough = false;
#else
inline constexpr bool kThorough = true;
#endif

// A new, empty directory that goes with the object.
struct TemporaryDirectory {
  std::filesystem::path path;

  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "mixflow-test-XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string operator/(const std::string& name) const { return (path / name).string(); }
  std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path),
                                                  std::filesystem::directory_iterator{}));
  }
};

inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// What an Error thrown by `call` says; other exceptions pass through.
template <class Error, class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "(nothing was thrown)";
}

}  // namespace mixflow
