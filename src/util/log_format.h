// How log lines are written: control characters in them are made visible.
#pragma once

#include <spdlog/formatter.h>

#include <memory>
#include <string>

namespace mixflow {

// A formatter of spdlog's for `pattern`, in which %v is the line as visible() shows it.
std::unique_ptr<spdlog::formatter> log_format(const std::string& pattern);

}  // namespace mixflow
