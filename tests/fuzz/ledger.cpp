// The lines of a ledger, and what a sweep takes from them.
#include "sweep/ledger.h"

#include "fuzz.h"
#include "util/text.h"

MIXFLOW_FUZZ_TARGET(data, size) {
  const std::string text = mixflow::text_of(data, size);
  mixflow::PointStates points;
  for (const std::string_view line : mixflow::split(text, '\n')) points.read_line(line);
  const mixflow::PointStatus& status = points.status("a");
  mixflow::must(status.attempt >= 0 && status.attempt <= mixflow::kMostAttempts);
  if (!status.record.is_object()) return 0;
  const nlohmann::json& record = status.record;
  static_cast<void>(record.value("boot", "") + record.value("scope", "") +
                    record.value("kind", "") + record.value("reason", "") +
                    record.value("split", ""));
  mixflow::must(record.value("pid", 0) >= 0 && record.value("threads", 0) >= 0);
  mixflow::must(record.value("process_bytes", std::int64_t{0}) >= 0);
  static_cast<void>(record.value("cpus", std::vector<int>()));
  static_cast<void>(mixflow::ledger_line(record));
  return 0;
}
