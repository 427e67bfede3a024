#include "train/outcome.h"

#include <unistd.h>

#include <new>
#include <nlohmann/json.hpp>

#include "train/metrics.h"
#include "util/failure.h"
#include "util/file.h"

namespace mixflow {
namespace {

using Json = nlohmann::ordered_json;

TrainOutcome of_this_process(std::string code, std::string message, std::int64_t step) {
  return {.code = std::move(code),
          .message = std::move(message),
          .step = step,
          .peak_rss_bytes = peak_rss_bytes(),
          .pid = ::getpid()};
}

}  // namespace

TrainOutcome outcome_of(const std::exception_ptr& error, std::int64_t step) {
  const auto failed = [&](const char* code, const std::exception& e) {
    return of_this_process(code, e.what(), step);
  };
  try {
    std::rethrow_exception(error);
  } catch (const InUseError& e) {
    return failed("in_use", e);
  } catch (const UserError& e) {
    return failed("config", e);
  } catch (const NonFiniteError& e) {
    return failed("non_finite", e);
  } catch (const MemoryError& e) {
    return failed("memory", e);
  } catch (const IoError& e) {
    return failed("io", e);
  } catch (const RunError& e) {
    return failed("error", e);
  } catch (const std::bad_alloc&) {
    return of_this_process("memory", "out of memory", step);
  } catch (const std::exception& e) {
    return failed("bug", e);
  }
}

TrainOutcome outcome_of_end(bool interrupted, std::int64_t step) {
  return of_this_process(interrupted ? "interrupted" : "done", "", step);
}

std::string to_json(const TrainOutcome& outcome) {
  const Json json = {{"code", outcome.code},
                     {"message", outcome.message},
                     {"step", outcome.step},
                     {"peak_rss_bytes", outcome.peak_rss_bytes},
                     {"pid", outcome.pid}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

TrainOutcome parse_outcome(const std::string& text) {
  try {
    const Json json = Json::parse(text);
    return {.code = json.at("code"),
            .message = json.at("message"),
            .step = json.at("step"),
            .peak_rss_bytes = json.at("peak_rss_bytes"),
            .pid = json.at("pid")};
  } catch (const nlohmann::json::exception& error) {
    throw UserError(std::string("not an outcome of mixflow: ") + error.what());
  }
}

void write_outcome(const std::filesystem::path& path, const TrainOutcome& outcome) noexcept {
  try {
    write_atomically(path, to_json(outcome));
  } catch (const std::exception&) {
  }
}

}  // namespace mixflow
