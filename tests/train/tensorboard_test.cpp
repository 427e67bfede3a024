// TensorBoard's event files: checksums, framing, and what a line of metrics becomes.
#include "train/tensorboard.h"

#include <cmath>
#include <limits>

#include "../util/events.h"

using namespace mixflow;

TEST_CASE("CRC-32C gives the published values, and is masked as TFRecord files have it") {
  CHECK(crc32c("") == 0);
  CHECK(crc32c("123456789") == 0xe3069283);
  CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aa);  // RFC 3720, B.4
  CHECK(crc32c(std::string(32, '\xff')) == 0x62a8ab43);
  CHECK(masked_crc32c("") == 0xa282ead8);
  CHECK(masked_crc32c("123456789") == 0xc78ab0e5);
}

TEST_CASE("a file begins with its version, to the byte") {
  const std::string record = version_event(1.5);
  // 26 = 1 + 8 (wall time), 1 + 1 (step), 1 + 1 + 13 (version).
  CHECK(record.size() == 8 + 4 + 26 + 4);
  CHECK(record.substr(0, 8) == std::string("\x1a\0\0\0\0\0\0\0", 8));
  CHECK(record.substr(12, 26) == std::string("\x09\0\0\0\0\0\0\xf8\x3f", 9) +
                                     std::string("\x10\0", 2) +
                                     "\x1a\x0d"
                                     "brain.Event:2");
  const std::vector<ReadEvent> events = read_events(record);
  REQUIRE(events.size() == 1);
  CHECK(events[0].wall_time == 1.5);
  CHECK(events[0].file_version == "brain.Event:2");
}

TEST_CASE("scalars are read back, large steps and values that are not finite included") {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const std::int64_t steps[] = {
      0, 1, 127, 128, 300, std::int64_t{1} << 40, std::numeric_limits<std::int64_t>::max()};
  std::string file = version_event(0);
  for (const std::int64_t step : steps) {
    const Scalar scalars[] = {{"a", 0.1},
                              {"b/zero", 0},
                              {"b/nan", std::nan("")},
                              {"b/inf", -kInfinity},
                              {std::string(200, 'x'), static_cast<double>(step)}};
    file += scalar_event(1e9 + 0.25, step, scalars);
  }
  const std::vector<ReadEvent> events = read_events(file);
  REQUIRE(events.size() == 1 + std::size(steps));
  for (std::size_t i = 0; i < std::size(steps); ++i) {
    const ReadEvent& event = events[i + 1];
    CHECK(event.wall_time == 1e9 + 0.25);
    CHECK(event.step == steps[i]);
    CHECK(event.file_version == "");
    CHECK(event.scalars.size() == 5);
    CHECK(event.scalars.at("a") == 0.1f);
    CHECK(event.scalars.at("b/zero") == 0);
    CHECK(std::isnan(event.scalars.at("b/nan")));
    CHECK(event.scalars.at("b/inf") == -std::numeric_limits<float>::infinity());
    CHECK(event.scalars.at(std::string(200, 'x')) == static_cast<float>(steps[i]));
  }
}

TEST_CASE("an evaluation becomes a loss, and with classes an accuracy, per number of inner steps") {
  EvalResult result{.step = 7, .split = Split::validation, .tasks = 3};
  result.points = {{.inner_steps = 0, .loss = 2, .accuracy = 0.25},
                   {.inner_steps = 10, .loss = 1, .accuracy = 0.75}};
  using Scalars = std::map<std::string, float>;
  const auto scalars = [&] {
    const std::vector<ReadEvent> events = read_events(to_event(result, 0));
    REQUIRE(events.size() == 1);
    CHECK(events[0].step == 7);
    return events[0].scalars;
  };
  CHECK(scalars() == Scalars{{"validation/loss_after_0", 2.f}, {"validation/loss_after_10", 1.f}});
  result.has_accuracy = true;
  CHECK(scalars() == Scalars{{"validation/loss_after_0", 2.f},
                             {"validation/loss_after_10", 1.f},
                             {"validation/accuracy_after_0", 0.25f},
                             {"validation/accuracy_after_10", 0.75f}});
}

TEST_CASE("the size of a record does not depend on its time and values") {
  MetricsLine line{.step = 5};
  const std::size_t size = to_event(line, 0).size();
  line.meta_loss = 1e-30;
  line.step_s = std::nan("");
  CHECK(to_event(line, 1.7e9).size() == size);
}
