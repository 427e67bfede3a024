// A line of points.jsonl. What was read is written and reads back as the same.
#include "sweep/point.h"

#include "fuzz.h"

MIXFLOW_FUZZ_TARGET(data, size) {
  mixflow::Point point;
  const std::string line = mixflow::text_of(data, size);
  if (!mixflow::takes([&] { point = mixflow::parse_point(line); })) return 0;
  static_cast<void>(mixflow::settings_text(point.settings));
  mixflow::must(mixflow::to_line(mixflow::parse_point(mixflow::to_line(point))) ==
                mixflow::to_line(point));
  return 0;
}
