// log.txt of a run directory: when the run began, what it was planned to need, its evaluations and
// how it ended, for people. Resumed runs append.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace spdlog {
class logger;
}

namespace mixflow {

class RunLog {
 public:
  // Throws RunError if the file cannot be opened.
  explicit RunLog(const std::filesystem::path& path);

  // One line with the time, on disk (not synced) when this returns.
  void info(const std::string& line);
  void warn(const std::string& line);
  void error(const std::string& line);

 private:
  std::shared_ptr<spdlog::logger> logger_;
};

}  // namespace mixflow
