#include "sweep/sweep_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "config/load.h"
#include "sweep/ledger.h"
#include "util/error.h"
#include "util/file.h"
#include "util/text.h"

namespace mixflow {
namespace {

// The lock on a file while the object lives, where the file system has locks.
class FileLock {
 public:
  explicit FileLock(const std::filesystem::path& path)
      : fd_(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
    while (fd_ >= 0 && flock(fd_, LOCK_EX) != 0 && errno == EINTR) {
    }
  }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  ~FileLock() {
    if (fd_ >= 0) close(fd_);
  }

 private:
  int fd_;
};

}  // namespace

bool SweepDir::holds_sweep() const {
  std::error_code ignored;
  return std::filesystem::exists(path_ / "sweep.yaml", ignored);
}

void SweepDir::make_directory(const std::filesystem::path& path) const {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) {
    throw UserError(path.string() + ": cannot be created: " + error.message() +
                    "; choose another --out");
  }
}

void SweepDir::create(const SweepSpec& spec, const ResolvedSweep& sweep) const {
  make_directory(path_);
  const FileLock lock(path_ / "lock");
  if (holds_sweep()) return;
  if (std::filesystem::exists(path_ / "config.yaml")) {
    throw UserError(path_.string() + ": holds a run of mixflow train; choose another --out");
  }
  make_directory(claims());
  make_directory(path_ / "points");
  std::string points, queued;
  for (const Point& point : sweep.points) {
    points += to_line(point);
    queued += ledger_line({{"point", point.id}, {"state", "queued"}});
  }
  write_atomically(path_ / "base.yaml", sweep.base);
  write_atomically(path_ / "points.jsonl", points);
  write_atomically(ledger(), queued);
  write_atomically(path_ / "sweep.yaml", spec_text(spec));
}

bool SweepDir::is_same(const SweepSpec& spec, const std::string& base) const {
  return read_text(path_ / "base.yaml") == base &&
         read_text(path_ / "sweep.yaml") == spec_text(spec);
}

std::size_t SweepDir::add(const SweepSpec& spec, const ResolvedSweep& sweep) const {
  const FileLock lock(path_ / "lock");
  const Extension extension = extend(spec, path_.string(), points(), sweep.points);
  std::string lines;
  for (const Point& point : extension.points) lines += to_line(point);
  std::vector<nlohmann::ordered_json> queued;
  for (std::size_t i = extension.points.size() - extension.added; i < extension.points.size();
       ++i) {
    queued.push_back({{"point", extension.points[i].id}, {"state", "queued"}});
  }
  write_atomically(path_ / "points.jsonl", lines);
  Ledger records(ledger());
  const Ledger::Lock ledger_lock(records);
  if (!queued.empty()) records.append_all(queued);
  write_atomically(path_ / "base.yaml", sweep.base);
  write_atomically(path_ / "sweep.yaml", spec_text(spec));
  return extension.added;
}

std::vector<Point> SweepDir::points() const {
  const std::filesystem::path path = path_ / "points.jsonl";
  const std::string text = read_text(path);
  std::vector<Point> points;
  for (const std::string_view line : split(text, '\n')) {
    if (line.empty()) continue;
    try {
      points.push_back(parse_point(std::string(line)));
    } catch (const UserError& error) {
      throw UserError(path.string() + ":" + std::to_string(points.size() + 1) + ": " +
                      error.what());
    }
  }
  if (points.empty()) throw UserError(path.string() + ": has no points; restore the file");
  return points;
}

void SweepDir::prepare(const Point& point) const {
  const std::filesystem::path directory = run(point);
  make_directory(directory);
  std::error_code ignored;
  if (std::filesystem::exists(directory / "config.yaml", ignored)) return;
  const nlohmann::ordered_json json = {{"id", point.id}, {"settings", point.settings}};
  write_atomically(directory / "point.json", json.dump(2) + "\n");
  write_atomically(directory / "config.yaml", point.config);
}

}  // namespace mixflow
