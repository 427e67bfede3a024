#include "util/log_format.h"

#include <spdlog/pattern_formatter.h>

#include <string_view>

#include "util/text.h"

namespace mixflow {
namespace {

class VisibleLine : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& to) override {
    const std::string text = visible({message.payload.data(), message.payload.size()});
    to.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<VisibleLine>();
  }
};

}  // namespace

std::unique_ptr<spdlog::formatter> log_format(const std::string& pattern) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<VisibleLine>('v').set_pattern(pattern);
  return formatter;
}

}  // namespace mixflow
