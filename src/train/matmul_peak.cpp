#include "train/matmul_peak.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <utility>

#include "kernels/cpu.h"
#include "train/threads.h"
#include "util/error.h"
#include "util/file.h"

namespace mixflow {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr double kAgreement = 0.97;
constexpr int kLeastRounds = 3, kMostRounds = 12;
constexpr std::int64_t kBusySeconds = 600;
constexpr std::uintmax_t kMostBytes = 1 << 20;  // of a cache file that is ours

std::int64_t now() {
  using namespace std::chrono;
  return duration_cast<seconds>(system_clock::now().time_since_epoch()).count();
}

// What a figure depends on. An entry is another machine's, or another build's, if one differs.
Json identity(int threads, bool bf16) {
  const CpuInfo cpu = cpu_info();
  return {{"cpu", cpu.name},         {"features", cpu.features},
          {"cores", usable_cores()}, {"kernels", bf16 ? cpu.bf16_kernels : cpu.kernels},
          {"onednn", cpu.onednn},    {"mixflow", MIXFLOW_VERSION},
          {"threads", threads},      {"type", bf16 ? "bf16" : "f32"}};
}

// The entries of the file; none where it is missing, or not one of ours.
Json read_entries(const fs::path& file) {
  std::error_code error;
  if (!fs::is_regular_file(file, error) || fs::file_size(file, error) > kMostBytes) {
    return Json::array();
  }
  try {
    const Json json = Json::parse(read_text(file), nullptr, false);
    if (json.is_object() && json.contains("matmul_peaks") && json["matmul_peaks"].is_array()) {
      return json["matmul_peaks"];
    }
  } catch (const std::runtime_error&) {  // UserError, RunError: measured instead
  }
  return Json::array();
}

Json without_figures(Json entry) {
  for (const char* key : {"gflops", "agreed", "measured_at"}) entry.erase(key);
  return entry;
}

std::optional<MatmulPeak> parse_entry(const Json& entry) {
  const auto gflops = entry.find("gflops"), agreed = entry.find("agreed"),
             at = entry.find("measured_at");
  if (gflops == entry.end() || !gflops->is_number() || agreed == entry.end() ||
      !agreed->is_boolean() || at == entry.end() || !at->is_number_integer()) {
    return std::nullopt;
  }
  const MatmulPeak peak{.gflops = *gflops, .agreed = *agreed, .measured_at = *at};
  const bool possible = std::isfinite(peak.gflops) && peak.gflops > 0;
  return possible ? std::optional(peak) : std::nullopt;
}

std::optional<MatmulPeak> kept_peak(const fs::path& file, const Json& key) {
  for (const Json& entry : read_entries(file)) {
    if (entry.is_object() && without_figures(entry) == key) return parse_entry(entry);
  }
  return std::nullopt;
}

// In place of the entry of the same key. "" or why not.
std::string keep_peak(const fs::path& file, const Json& key, const MatmulPeak& peak) {
  Json entries = Json::array();
  for (const Json& entry : read_entries(file)) {
    if (entry.is_object() && without_figures(entry) != key) entries.push_back(entry);
  }
  Json entry = key;
  entry["gflops"] = peak.gflops;
  entry["agreed"] = peak.agreed;
  entry["measured_at"] = peak.measured_at;
  entries.push_back(std::move(entry));
  try {
    write_atomically(file, Json{{"matmul_peaks", std::move(entries)}}.dump(1) + "\n");
    return "";
  } catch (const std::runtime_error& error) {
    return error.what();
  }
}

// "" or why nothing can be kept there.
std::string make_cache_directory(const std::optional<fs::path>& file) {
  if (!file) return "neither XDG_CACHE_HOME nor HOME names a directory";
  std::error_code error;
  fs::create_directories(file->parent_path(), error);
  if (error) return file->parent_path().string() + ": cannot be created: " + error.message();
  try {
    check_writable(*file);
    return "";
  } catch (const std::runtime_error& failure) {
    return failure.what();
  }
}

MatmulPeak measure(int threads, bool bf16, int most_rounds) {
  start_threads(threads);
  std::array<double, 2> best{};  // the two largest
  MatmulPeak peak;
  for (int round = 1; round <= most_rounds && !peak.agreed; ++round) {
    const double gflops = measure_matmul_gflops(threads, bf16);
    best[1] = std::max(best[1], std::min(best[0], gflops));
    best[0] = std::max(best[0], gflops);
    peak.agreed = round >= kLeastRounds && best[1] >= kAgreement * best[0];
  }
  peak.gflops = best[0];
  peak.measured_at = now();
  return peak;
}

// `renew`: whatever is kept.
MatmulPeak find_peak(int threads, bool bf16, bool renew) {
  const std::optional<fs::path> file = matmul_peak_file();
  const Json key = identity(threads, bf16);
  const std::optional<MatmulPeak> kept = file ? kept_peak(*file, key) : std::nullopt;
  const bool fresh = kept && (kept->agreed || std::abs(now() - kept->measured_at) < kBusySeconds);
  if (fresh && !renew) return *kept;
  std::string not_kept = make_cache_directory(file);
  MatmulPeak peak = measure(threads, bf16, not_kept.empty() || renew ? kMostRounds : 1);
  if (kept && !renew && !peak.agreed) peak.gflops = std::max(peak.gflops, kept->gflops);
  if (not_kept.empty()) not_kept = keep_peak(*file, key, peak);
  peak.not_kept = std::move(not_kept);
  return peak;
}

std::mutex known_mutex;
std::map<std::pair<int, bool>, MatmulPeak>& known_peaks() {
  static std::map<std::pair<int, bool>, MatmulPeak> known;
  return known;
}

}  // namespace

std::optional<fs::path> matmul_peak_file() {
  const auto directory = [](const char* name) {
    const char* value = std::getenv(name);
    return fs::path(value ? value : "");
  };
  fs::path cache = directory("XDG_CACHE_HOME");
  // The XDG specification has relative paths ignored.
  if (!cache.is_absolute()) {
    const fs::path home = directory("HOME");
    if (!home.is_absolute()) return std::nullopt;
    cache = home / ".cache";
  }
  return cache / "mixflow" / "matmul_peak.json";
}

MatmulPeak matmul_peak_of(int threads, bool bf16) {
  const std::lock_guard lock(known_mutex);
  const auto [entry, missing] = known_peaks().try_emplace({threads, bf16});
  if (missing) entry->second = find_peak(threads, bf16, false);
  return entry->second;
}

MatmulPeak renew_matmul_peak(int threads, bool bf16) {
  const std::lock_guard lock(known_mutex);
  return known_peaks()[{threads, bf16}] = find_peak(threads, bf16, true);
}

std::optional<double> mfu_of(double gflops, double peak_gflops) {
  const double mfu = gflops / peak_gflops;
  return mfu <= 1 ? std::optional(mfu) : std::nullopt;
}

}  // namespace mixflow
