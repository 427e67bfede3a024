// The files that grow while a run goes on.
#include "train/append_file.h"

#include <doctest/doctest.h>

#include "../util/testing.h"
#include "util/error.h"
#include "util/file.h"

using namespace mixflow;

TEST_CASE("an append file is cut to what the checkpoint knows and grows from there") {
  const TemporaryDirectory directory;
  const std::string path = directory / "lines.jsonl";
  std::int64_t kept = 0;
  {
    AppendFile file(path, 0);
    file.append("one\n");
    file.append("two\n");
    kept = file.sync();
    file.append("lost\n");
  }
  CHECK(kept == 8);
  CHECK(read_text(path) == "one\ntwo\nlost\n");
  {
    AppendFile file(path, kept);
    CHECK(read_text(path) == "one\ntwo\n");
    file.append("three\n");
    CHECK(file.sync() == 14);
  }
  CHECK(read_text(path) == "one\ntwo\nthree\n");
}

TEST_CASE("an append file that is shorter than the checkpoint says is an error that names both") {
  const TemporaryDirectory directory;
  const std::string path = directory / "lines.jsonl";
  write_atomically(path, "one\n");
  const std::string message = message_of<RunError>([&] { AppendFile(path, 100); });
  CHECK(
      message.starts_with(path + ": has 4 bytes, but the checkpoint was written when it had 100"));
  CHECK(read_text(path) == "one\n");
  CHECK(message_of<RunError>([&] { AppendFile(directory.path, 0); }).find("cannot be opened") !=
        std::string::npos);
}

TEST_CASE("many records, any bytes, reach the file whole and in order") {
  const TemporaryDirectory directory;
  const std::string path = directory / "records";
  std::string expected;
  {
    AppendFile file(path, 0);
    for (int i = 0; i < 20000; ++i) {
      const std::string record = std::to_string(i) + std::string("\0\n\xff", 3);
      file.append(record);
      expected += record;
    }
  }
  CHECK(read_text(path) == expected);
}
