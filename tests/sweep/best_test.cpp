// Which settings of a sweep did best.
#include "sweep/best.h"

#include <doctest/doctest.h>

#include <map>
#include <tuple>

using namespace mixflow;
using Json = nlohmann::ordered_json;

namespace {

struct Results {
  std::vector<Point> points;
  std::map<std::string, Json> of;

  void add(const Json& settings, double loss, std::int64_t inner_steps = 5,
           const std::string& split = "validation") {
    Point point;
    point.id = settings.dump();
    point.settings = settings;
    of[point.id] = {{"loss", loss}, {"split", split}, {"inner_steps", inner_steps}};
    points.push_back(std::move(point));
  }
  std::vector<BestSettings> best() const {
    std::vector<const Point*> all;
    for (const Point& point : points) all.push_back(&point);
    return best_settings(all, [&](const Point& point) {
      const auto found = of.find(point.id);
      return found == of.end() ? Json() : found->second;
    });
  }
};

}  // namespace

TEST_CASE("the best settings have the lowest mean over seeds, not the luckiest seed") {
  Results results;
  for (const auto& [seed, steady, lucky] :
       {std::tuple(1, 0.30, 0.10), std::tuple(2, 0.31, 0.60), std::tuple(3, 0.29, 0.62)}) {
    results.add({{"inner.optimizer.lr", 0.1}, {"seed", seed}}, steady);
    results.add({{"inner.optimizer.lr", 0.2}, {"seed", seed}}, lucky);
  }
  // The lowest mean so far, but of one seed alone.
  results.add({{"inner.optimizer.lr", 0.3}, {"seed", 1}}, 0.05);
  const auto best = results.best();
  REQUIRE(best.size() == 1);
  CHECK(best[0].settings == "lr=0.1");
  CHECK(best[0].loss == doctest::Approx(0.3));
  CHECK(best[0].seeds == 3);
  CHECK(best[0].candidates == 2);
  CHECK(to_text(best[0]) ==
        "Best validation loss after 5 inner steps, mean over 3 seeds: 0.3, lr=0.1 (of 2)\n");
}

TEST_CASE("losses after different numbers of inner steps, on other data or splits do not compete") {
  Results results;
  for (const int steps : {2, 8}) {
    for (const double lr : {0.1, 0.2}) {
      results.add({{"inner.steps", steps}, {"inner.optimizer.lr", lr}}, lr / steps, steps);
    }
  }
  results.add({{"data.shots", 1}, {"inner.optimizer.lr", 0.1}}, 7, 2);
  results.add({{"inner.optimizer.lr", 0.1}}, 0.01, 2, "test");
  results.add({{"inner.optimizer.lr", 0.2}}, 0.02, 2, "test");
  const auto best = results.best();
  REQUIRE(best.size() == 4);
  CHECK(best[0].inner_steps == 2);
  CHECK(best[0].loss == 0.05);
  CHECK(best[1].inner_steps == 8);
  CHECK(best[1].loss == 0.0125);
  CHECK(best[2].loss == 7);
  CHECK(best[2].among == "shots=1");
  CHECK(to_text(best[3]).find("chosen by the test loss") != std::string::npos);
  CHECK(to_text(best[0]).find("chosen by") == std::string::npos);
}

TEST_CASE("points that are not done, and sweeps of none, have no best") {
  Results results;
  CHECK(results.best().empty());
  results.add({{"seed", 1}}, 1);
  results.of.clear();
  CHECK(results.best().empty());
}
