#include "sweep/ledger.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <optional>

#include "util/error.h"
#include "util/file.h"

namespace mixflow {
namespace {

constexpr std::array<std::string_view, 5> kStates = {"queued", "running", "done", "failed",
                                                     "skipped"};

std::optional<PointState> state_of(std::string_view name) {
  const auto found = std::ranges::find(kStates, name);
  if (found == kStates.end()) return std::nullopt;
  return static_cast<PointState>(found - kStates.begin());
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

using Json = nlohmann::ordered_json;

bool is_count(const Json& value, std::int64_t most) {
  if (value.is_number_unsigned())
    return value.get<std::uint64_t>() <= static_cast<std::uint64_t>(most);
  return value.is_number_integer() && value.get<std::int64_t>() >= 0 &&
         value.get<std::int64_t>() <= most;
}
bool is_text(const Json& value) { return value.is_string(); }
bool is_small_count(const Json& value) { return is_count(value, 1 << 20); }
bool is_bytes(const Json& value) { return is_count(value, std::int64_t{1} << 60); }
bool is_number(const Json& value) { return value.is_number() || value.is_null(); }
bool is_cpus(const Json& value) {
  return value.is_array() && std::ranges::all_of(value, is_small_count);
}

// What the values of a record are where they are there. Readers take them as these.
struct LineField {
  const char* name;
  bool (*holds)(const Json&);
};
constexpr std::array kFields = {
    LineField{"point", is_text},
    LineField{"state", is_text},
    LineField{"attempt", [](const Json& value) { return is_count(value, kMostAttempts); }},
    LineField{"host", is_text},
    LineField{"boot", is_text},
    LineField{"scope", is_text},
    LineField{"kind", is_text},
    LineField{"reason", is_text},
    LineField{"split", is_text},
    LineField{"pid", [](const Json& value) { return is_count(value, INT32_MAX); }},
    LineField{"child", [](const Json& value) { return is_count(value, INT32_MAX); }},
    LineField{"heartbeat", [](const Json& value) { return is_count(value, INT32_MAX); }},
    LineField{"threads", is_small_count},
    LineField{"cpus", is_cpus},
    LineField{"process_bytes", is_bytes},
    LineField{"peak_rss_bytes", is_bytes},
    LineField{"seconds", is_number},
    LineField{"loss", is_number},
};

bool is_record(const Json& record) {
  return record.is_object() && std::ranges::all_of(kFields, [&](const LineField& field) {
           const auto found = record.find(field.name);
           return found == record.end() || field.holds(*found);
         });
}

// Whole lines; returns where what is left begins.
std::size_t read_lines(std::string_view text, PointStates& points) {
  std::size_t begin = 0;
  for (std::size_t end = 0; (end = text.find('\n', begin)) != text.npos; begin = end + 1) {
    points.read_line(text.substr(begin, end - begin));
  }
  return begin;
}

}  // namespace

std::string_view name_of(PointState state) { return kStates[static_cast<std::size_t>(state)]; }

std::string ledger_line(const nlohmann::ordered_json& record) {
  nlohmann::ordered_json line = {{"time", utc_now()}};
  line.update(record);
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

Ledger::Ledger(const std::filesystem::path& path) : path_(path) {
  fd_ = open(path.c_str(), O_RDWR | O_APPEND | O_CLOEXEC);
  if (fd_ < 0) throw RunError(path.string() + ": cannot be opened: " + std::strerror(errno));
  refresh();
}

Ledger::~Ledger() { close(fd_); }

const PointStatus& PointStates::status(const std::string& id) const {
  static const PointStatus kUnknown;
  const auto found = points_.find(id);
  return found == points_.end() ? kUnknown : found->second;
}

void Ledger::refresh() {
  std::string text;
  std::array<char, 65536> buffer;
  while (true) {
    const ssize_t count =
        pread(fd_, buffer.data(), buffer.size(), offset_ + static_cast<std::int64_t>(text.size()));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw RunError(path_.string() + ": cannot be read: " + std::strerror(errno));
    if (count == 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
  offset_ += static_cast<std::int64_t>(read_lines(text, points_));
}

void PointStates::read_line(std::string_view line) {
  const Json record = Json::parse(line, nullptr, false);
  const bool sound = is_record(record);
  const std::string id = sound ? record.value("point", "") : "";
  const std::optional<PointState> state =
      sound ? state_of(record.value("state", "")) : std::nullopt;
  if (id.empty() || !state) {
    damaged_ += line.empty() ? 0 : 1;
    return;
  }
  PointStatus& status = points_[id];
  if (status.state == PointState::done) return;
  const auto attempt = record.find("attempt");
  if (attempt != record.end()) {
    if (attempt->get<int>() < status.attempt) return;  // of a process that was taken for dead
    status.attempt = attempt->get<int>();
  }
  status.state = *state;
  status.record = record;
  status.seen = Clock::now();
}

PointStates read_ledger(const std::filesystem::path& path) {
  PointStates points;
  read_lines(read_text(path), points);
  return points;
}

Ledger::Lock::Lock(Ledger& ledger) : ledger_(ledger) {
  while (flock(ledger_.fd_, LOCK_EX) != 0 && errno == EINTR) {
  }
  ledger_.refresh();
}

Ledger::Lock::~Lock() { flock(ledger_.fd_, LOCK_UN); }

void Ledger::append_all(std::span<const nlohmann::ordered_json> records) {
  std::string text;
  const off_t size = lseek(fd_, 0, SEEK_END);
  char last = '\n';
  if (size > 0 && pread(fd_, &last, 1, size - 1) == 1 && last != '\n') text = "\n";
  for (const auto& record : records) text += ledger_line(record);
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = write(fd_, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw RunError(path_.string() + ": cannot be written: " + std::strerror(errno));
    done += static_cast<std::size_t>(count);
  }
  if (fsync(fd_) != 0) throw RunError(path_.string() + ": " + std::strerror(errno));
  refresh();
}

}  // namespace mixflow
