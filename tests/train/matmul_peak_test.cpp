// The matmul peak and where it is kept.
#include "train/matmul_peak.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "../util/testing.h"
#include "util/file.h"

using namespace mixflow;
using Json = nlohmann::json;

namespace {

// An environment variable for the length of a test.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) {
    if (const char* was = std::getenv(name)) was_ = was;
    setenv(name, value.c_str(), 1);
  }
  ~Environment() { was_ ? setenv(name_, was_->c_str(), 1) : unsetenv(name_); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
  std::optional<std::string> was_;
};

}  // namespace

TEST_CASE("the peak is kept in the user's cache directory with what it depends on, and renewed") {
  const TemporaryDirectory directory;
  const Environment cache("XDG_CACHE_HOME", directory.path.string());
  const auto file = matmul_peak_file();
  REQUIRE(file == directory.path / "mixflow" / "matmul_peak.json");
  const MatmulPeak measured = renew_matmul_peak(1, false);
  CHECK(measured.gflops > 0);
  CHECK(measured.not_kept == "");
  Json kept = Json::parse(read_text(*file));
  REQUIRE(kept.at("matmul_peaks").size() == 1);
  const Json& entry = kept["matmul_peaks"][0];
  CHECK(entry.at("gflops") == measured.gflops);
  CHECK(entry.at("agreed") == measured.agreed);
  CHECK(entry.at("threads") == 1);
  CHECK(entry.at("type") == "f32");
  for (const char* key : {"cpu", "features", "kernels", "onednn", "mixflow"}) {
    CHECK_MESSAGE(entry.at(key).is_string(), key);
  }
  CHECK(matmul_peak_of(1, false).gflops == measured.gflops);
  // Another machine's entries stay where they are.
  kept["matmul_peaks"][0]["cpu"] = "another";
  write_atomically(*file, kept.dump());
  renew_matmul_peak(1, false);
  CHECK(Json::parse(read_text(*file)).at("matmul_peaks").size() == 2);
  renew_matmul_peak(1, false);
  CHECK(Json::parse(read_text(*file)).at("matmul_peaks").size() == 2);
}

TEST_CASE("a damaged cache is measured over, and one that cannot be written is told") {
  const TemporaryDirectory directory;
  {
    const Environment cache("XDG_CACHE_HOME", directory.path.string());
    std::filesystem::create_directories(directory.path / "mixflow");
    for (const char* damaged : {"", "{", "[1]", R"({"matmul_peaks": {"a": 1}})",
                                R"({"matmul_peaks": [1, {"gflops": "x"}, {"gflops": -1}]})"}) {
      write_atomically(*matmul_peak_file(), damaged);
      CHECK(renew_matmul_peak(1, true).gflops > 0);
      CHECK(Json::parse(read_text(*matmul_peak_file())).at("matmul_peaks").size() >= 1);
    }
  }
  write_atomically(directory.path / "file", "not a directory");
  const Environment cache("XDG_CACHE_HOME", (directory.path / "file").string());
  const MatmulPeak peak = renew_matmul_peak(1, true);
  CHECK(peak.gflops > 0);
  CHECK(peak.not_kept.find((directory.path / "file").string()) != std::string::npos);
}

TEST_CASE("without a directory of its own the cache is below the home, and nowhere without one") {
  const Environment cache("XDG_CACHE_HOME", "relative/paths/do/not/count");
  {
    const Environment home("HOME", "/home/somebody");
    CHECK(matmul_peak_file() == "/home/somebody/.cache/mixflow/matmul_peak.json");
  }
  const Environment home("HOME", "");
  CHECK_FALSE(matmul_peak_file().has_value());
}

TEST_CASE("an MFU above 1 is none: the peak was measured under load") {
  CHECK(mfu_of(50, 100) == 0.5);
  CHECK(mfu_of(100, 100) == 1);
  CHECK_FALSE(mfu_of(172, 100).has_value());
}
