// Sweep files that are wrong: one message each, with its place; nothing is written.
#include <fstream>

#include "process.h"

using namespace mixflow;

namespace {

struct BadSweep {
  std::string text, message;  // the message without "mixflow: s.yaml:" in front
};

std::vector<BadSweep> bad_sweeps() {
  return {
      {R"~()~", R"~(1:1: the file is empty; a sweep needs at least base and an axis)~"},
      {R"~(# only a comment
)~",
       R"~(1:1: only comments and blank lines here; a sweep needs at least base and an axis)~"},
      {R"~(- base.yaml
)~",
       R"~(1:1: expected sections such as "base:" and "grid:" at the top, got a list)~"},
      {R"~(base: base.yaml
grid: {inner.stpes: [1, 2]}
)~",
       R"~(2:8: inner.stpes: unknown key, did you mean steps? (in the point stpes=1))~"},
      {R"~(base: base.yaml
grid:
  inner.steps: [1, 2]
  inner.optimizer.lr: []
)~",
       R"~(4:23: grid.inner.optimizer.lr: an empty list; give at least one value or remove the axis)~"},
      {R"~(base: base.yaml
grid: {inner.steps: [1, fast]}
)~",
       R"~(2:25: inner.steps: expected an integer >= 1, got "fast" (inner steps per task (T), in steps; default 1) (in the point steps=fast))~"},
      {R"~(base: base.yaml
grid: {inner.steps: 5}
)~",
       R"~(2:21: grid.inner.steps: expected a list of values, such as [1, 2, 5], got 5)~"},
      {R"~(base: base.yaml
grid: {inner.steps: [1, 2]}
when: stepz < 2
)~",
       R"~(3:7: when: unknown name "stepz", did you mean steps?)~"},
      {R"~(base: base.yaml
grid: {inner.steps: [1, 2]}
when: "steps < 2 and"
)~",
       R"~(3:21: when: expected a value, got the end)~"},
      {R"~(base: base.yaml
grid: {inner.steps: [1, 2]}
when: steps = 2
)~",
       R"~(3:13: when: there is no = here; write ==)~"},
      {R"~(base: base.yaml
grid: {inner.steps: [1, 2]}
when: steps + 1
)~",
       R"~(3:13: when: expected true or false, got 2)~"},
      {R"~(base: base.yaml
grid: {inner.steps: [1, 2]}
when: [steps > 0, steps == "two"]
)~",
       R"~(3:25: when: cannot compare 1 with "two"; give both one type)~"},
      {R"~(base: base.yaml
grid: {inner.steps: [1, 2]}
when: steps > 5
)~",
       R"~(3:7: when: no combination of the 2 fulfils it; loosen it)~"},
      {R"~(base: base.yaml
grid: {inner.optimizer.lr: [0.1], meta.optimizer.lr: [0.1]}
when: lr < 1
)~",
       R"~(3:7: when: "lr" may be inner.optimizer.lr or meta.optimizer.lr; write more of its path)~"},
      {R"~(base: base.yaml
grid: {inner.steps: [1, 2]}
when: (steps < 2
)~",
       R"~(3:17: when: expected ")", got the end)~"},
      {R"~(base: base.yaml
gird: {inner.steps: [1, 2]}
)~",
       R"~(2:1: gird: unknown key of a sweep, did you mean grid?)~"},
      {R"~(grid: {inner.steps: [1, 2]}
)~",
       R"~(1:1: base: missing; it is the config that the sweep varies, a file name)~"},
      {R"~(base: nothing.yaml
grid: {inner.steps: [1, 2]}
)~",
       R"~(1:7: base: no such file: nothing.yaml; it is relative to the current directory or to the sweep's)~"},
      {R"~(base: base.yaml
)~",
       R"~(1:1: nothing is varied; give grid, zip, list, random or seeds, or use mixflow train)~"},
      {R"~(base: base.yaml
zip:
  inner.steps: [1, 2]
  meta.batch: [1, 2, 3]
)~",
       R"~(4:3: zip.meta.batch: has 3 values, but inner.steps has 2; lists of a zip have equal lengths)~"},
      {R"~(base: base.yaml
grid: {inner.steps: [1, 2]}
zip: {inner.steps: [1, 2]}
)~",
       R"~(3:7: inner.steps: is set or varied twice; write all its values into one axis)~"},
      {R"~(base: base.yaml
grid: {seed: [1, 2]}
seeds: [1, 2]
)~",
       R"~(2:8: seed: is an axis beside seeds; keep one of the two)~"},
      {R"~(base: base.yaml
seeds: []
)~",
       R"~(2:8: seeds: an empty list; give at least one value or remove the axis)~"},
      {R"~(base: base.yaml
seeds: [1, -2]
)~",
       R"~(2:12: seed: expected an integer >= 0, got -2 (seeds everything random; default 1) (in the point seed=-2))~"},
      {R"~(base: base.yaml
list: [{inner.steps: 1}, 2]
)~",
       R"~(2:26: list[1]: expected the settings of a point, such as {inner.steps: 5}, got 2)~"},
      {R"~(base: base.yaml
random: {inner.optimizer.lr: {log_uniform: [1e-4, 1e-1]}}
)~",
       R"~(2:1: random.samples: missing; it is the number of points to draw)~"},
      {R"~(base: base.yaml
random: {samples: 5, inner.optimizer.lr: {log_uniform: [0, 1e-1]}}
)~",
       R"~(2:56: random.inner.optimizer.lr.log_uniform: expected [low, high], two numbers, 0 < low <= high, got [0, 1e-1])~"},
      {R"~(base: base.yaml
random: {samples: 5, inner.optimizer.lr: {logunifrm: [0, 1e-1]}}
)~",
       R"~(2:43: random.inner.optimizer.lr.logunifrm: unknown distribution, did you mean log_uniform?)~"},
      {R"~(base: base.yaml
random: {samples: 5, inner.steps: {uniform: [0.5, 3]}}
)~",
       R"~(2:45: random.inner.steps.uniform: inner.steps is an integer; give its ends as integers)~"},
      {R"~(base: base.yaml
random: {samples: 5, inner.optimizer.lr: 3}
)~",
       R"~(2:42: random.inner.optimizer.lr: expected {uniform: [low, high]}, {log_uniform: [low, high]} or {choice: [..]}, got 3)~"},
      {R"~(base: base.yaml
random: {samples: 0, inner.optimizer.lr: [1]}
)~",
       R"~(2:19: random.samples: expected an integer in [1, 100000], got 0)~"},
      {R"~(base: base.yaml
random: {samples: 3}
)~",
       R"~(2:1: random: no key to draw; add one, such as inner.optimizer.lr: {log_uniform: [1e-4, 1e-1]})~"},
      {R"~(base: base.yaml
grid: {inner.steps: [1, 2, 4], inner.window: [0, 3]}
)~",
       R"~(2:50: inner.window: a window of 3 is longer than the unroll, inner.steps 1; shorten it, or 0 for all steps (in the point steps=1 window=3))~"},
      {R"~(base: base.yaml
grid: {inner.optimizer.beta1: [0.9]}
)~",
       R"~(2:8: inner.optimizer.beta1: does not apply to kind sgd, only to adam, adamw; remove it or change the kind (in the point beta1=0.9))~"},
      {R"~(base: base.yaml
grid: {meta.parameters.1.kind: [lr]}
)~",
       R"~(2:8: meta.parameters: is a list of 1; name an item by its number, from 0, or set the whole list (in the point kind=lr))~"},
      {R"~(base: base.yaml
grid: {inner.steps: [1, 2]}
memory: lots
)~",
       R"~(3:9: memory: expected an amount of memory with its unit (B, KiB, MiB, GiB, TiB) or a share of it, such as 12GiB or 80%, got "lots")~"},
      {R"~(base: base.yaml
grid: {inner.steps: [1, 2]}
grid: {meta.batch: [1, 2]}
)~",
       R"~(3:1: grid: given twice, first on line 2; keep one of the two)~"},
      {R"~(base: base.yaml
grid: {inner.steps: [1, 2}
)~",
       R"~(2:26: this bracket does not match the one that opens in line 2, column 21)~"},
      {R"~(base: base.yaml
name: my sweep
grid: {inner.steps: [1, 2]}
)~",
       R"~(2:7: name: expected a name of letters, digits, ".", "_" and "-", got "my sweep" (names the run and its directory; default s))~"},
      {R"~(base: base.yaml
grid: {inner..steps: [1, 2]}
)~",
       R"~(2:8: expected the path of a key, such as inner.steps, got "inner..steps" (in the point steps=1))~"},
      {R"~(base: base.yaml
grid: {seed: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], inner.steps: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], meta.batch: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], meta.steps: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], inner.optimizer.lr: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], meta.optimizer.lr: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}
)~",
       R"~(1:1: more than 100000 combinations; use fewer values, or random with as many samples as you can run)~"},
      {R"~(base: base.yaml
set: {inner.steps: x}
seeds: [1]
)~",
       R"~(2:20: inner.steps: expected an integer >= 1, got "x" (inner steps per task (T), in steps; default 1))~"},
      {R"~(base: base.yaml
grid: {inner.steps: [1, 2]}
when: true
list: fast
)~",
       R"~(4:7: list: expected keys and their values, such as {inner.steps: [1, 2, 5]}, got "fast")~"},
  };
}

}  // namespace

TEST_CASE("every bad sweep file is refused with its message, and nothing is written") {
  const TemporaryDirectory work;
  std::ofstream(work / "base.yaml") << "data: {kind: sinusoid}\nmodel: {kind: mlp, hidden: [8]}\n"
                                       "inner: {steps: 2}\n"
                                       "meta: {parameters: [{kind: init}], batch: 4, steps: 10}\n";
  for (const auto& [text, message] : bad_sweeps()) {
    CAPTURE(text);
    std::ofstream(work / "s.yaml") << text;
    const Outcome outcome = mixflow::mixflow({"sweep", "s.yaml"}, work.path);
    CHECK(outcome.code == 2);
    CHECK(outcome.out == "");
    CHECK(outcome.err == "mixflow: s.yaml:" + message + "\n");
    CHECK(work.entries() == 2);
  }
}

TEST_CASE("a broken base config is told by its own place") {
  const TemporaryDirectory work;
  std::ofstream(work / "base.yaml") << "data: {kind: sinusoid}\nmodle: {kind: mlp}\n";
  std::ofstream(work / "s.yaml") << "base: base.yaml\nseeds: [1]\n";
  CHECK(mixflow::mixflow({"sweep", "s.yaml"}, work.path).err ==
        "mixflow: base.yaml:2:1: modle: unknown key, did you mean model?\n");
}

TEST_CASE("wrong usage of sweep is an error") {
  const TemporaryDirectory work;
  CHECK(mixflow::mixflow({"sweep", "none.yaml"}, work.path).err ==
        "mixflow: none.yaml: cannot open the sweep: No such file or directory; check the path, "
        "which is relative to the current directory\n");
  for (const std::string shard : {"0/2", "3/2", "1", "a/b", "1/2/3", "-1/2"}) {
    const Outcome outcome = mixflow::mixflow({"sweep", "s.yaml", "--shard=" + shard}, work.path);
    CHECK(outcome.code == 2);
    CHECK(outcome.err == "mixflow: sweep: --shard " + shard +
                             ": expected i/n with 1 <= i <= n, such as --shard 2/8\n");
  }
}
