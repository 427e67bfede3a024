// log.txt of a run directory: when the run began, what it was planned to need, its evaluations and
// how it ended, for people. Resumed runs append.
#pragma once

#include <filesystem>
#include <string>

namespace mixflow {

class RunLog {
 public:
  // Throws UserError or RunError if the file cannot be opened, or is a symbolic link.
  explicit RunLog(const std::filesystem::path& path);
  ~RunLog();
  RunLog(const RunLog&) = delete;
  RunLog& operator=(const RunLog&) = delete;

  // One line with the time, on disk (not synced) when this returns. A line that cannot be written
  // is lost: what else the run writes meets the same disk, and reports it.
  void info(const std::string& line) { write("info", line); }
  void warn(const std::string& line) { write("warning", line); }
  void error(const std::string& line) { write("error", line); }

 private:
  void write(const char* level, const std::string& line);

  int fd_;
};

}  // namespace mixflow
