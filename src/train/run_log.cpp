#include "train/run_log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/basic_file_sink.h>

#include "util/error.h"
#include "util/log_format.h"

namespace mixflow {

RunLog::RunLog(const std::filesystem::path& path) {
  try {
    logger_ = std::make_shared<spdlog::logger>(
        "run", std::make_shared<spdlog::sinks::basic_file_sink_st>(path.string()));
  } catch (const spdlog::spdlog_ex& error) {
    throw RunError(path.string() + ": cannot be opened for writing: " + error.what());
  }
  logger_->set_formatter(log_format("%Y-%m-%d %H:%M:%S %l: %v"));
  logger_->flush_on(spdlog::level::info);
}

void RunLog::info(const std::string& line) { logger_->info(line); }
void RunLog::warn(const std::string& line) { logger_->warn(line); }
void RunLog::error(const std::string& line) { logger_->error(line); }

}  // namespace mixflow
