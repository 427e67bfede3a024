#include "train/run_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <ctime>

#include "util/own_file.h"
#include "util/text.h"

namespace mixflow {

RunLog::RunLog(const std::filesystem::path& path)
    : fd_(open_own_file(path, O_WRONLY | O_CREAT | O_APPEND)) {}

RunLog::~RunLog() { close(fd_); }

void RunLog::write(const char* level, const std::string& line) {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  char when[32] = "";
  if (localtime_r(&now, &parts) != nullptr)
    std::strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &parts);
  const std::string text = std::string(when) + " " + level + ": " + visible_line(line) + "\n";
  if (::write(fd_, text.data(), text.size()) < 0) return;
}

}  // namespace mixflow
