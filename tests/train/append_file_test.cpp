// The files that grow while a run goes on.
#include "train/append_file.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include "../util/testing.h"
#include "util/error.h"
#include "util/file.h"

using namespace mixflow;

TEST_CASE("an append file is cut to what the checkpoint knows and grows from there") {
  const TemporaryDirectory directory;
  const std::string path = directory / "lines.jsonl";
  FileMark kept;
  {
    AppendFile file(path, {});
    file.append("one\n");
    file.append("two\n");
    kept = file.sync();
    file.append("lost\n");
  }
  CHECK(kept.bytes == 8);
  CHECK(read_text(path) == "one\ntwo\nlost\n");
  {
    AppendFile file(path, kept);
    CHECK(read_text(path) == "one\ntwo\n");
    file.append("three\n");
    CHECK(file.sync().bytes == 14);
  }
  CHECK(read_text(path) == "one\ntwo\nthree\n");
}

TEST_CASE("an append file that is shorter than the checkpoint says is an error that names both") {
  const TemporaryDirectory directory;
  const std::string path = directory / "lines.jsonl";
  write_atomically(path, "one\n");
  const std::string message = message_of<UserError>([&] { AppendFile(path, {100, "x"}); });
  CHECK(
      message.starts_with(path + ": has 4 bytes, but the checkpoint was written when it had 100"));
  CHECK(read_text(path) == "one\n");
  CHECK(message_of<UserError>([&] {
          AppendFile(directory.path, {});
        }).find("cannot be written: it is a directory") != std::string::npos);
}

TEST_CASE("many records, any bytes, reach the file whole and in order") {
  const TemporaryDirectory directory;
  const std::string path = directory / "records";
  std::string expected;
  {
    AppendFile file(path, {});
    for (int i = 0; i < 20000; ++i) {
      const std::string record = std::to_string(i) + std::string("\0\n\xff", 3);
      file.append(record);
      expected += record;
    }
  }
  CHECK(read_text(path) == expected);
}

TEST_CASE("an append file that another run has written is refused as it is") {
  const TemporaryDirectory directory;
  const std::string path = directory / "lines.jsonl";
  FileMark kept;
  {
    AppendFile file(path, {});
    file.append("one\n");
    kept = file.sync();
  }
  write_atomically(path, "two\nthree\n");
  CHECK(message_of<UserError>([&] { AppendFile(path, kept); }).find("the checkpoint is another") !=
        std::string::npos);
  CHECK(read_text(path) == "two\nthree\n");
}

TEST_CASE("an append file follows no symbolic link and waits for no reader of a pipe") {
  const TemporaryDirectory directory;
  write_atomically(directory / "target", "mine");
  std::filesystem::create_symlink("target", directory.path / "link");
  CHECK(message_of<UserError>([&] {
          AppendFile(directory / "link", {});
        }).find("is a symbolic link") != std::string::npos);
  REQUIRE(mkfifo((directory / "pipe").c_str(), 0600) == 0);
  CHECK(message_of<UserError>([&] {
          AppendFile(directory / "pipe", {});
        }).find("expected a regular file") != std::string::npos);
  CHECK(read_text(directory / "target") == "mine");
}

TEST_CASE("what was flushed is there for readers") {
  const TemporaryDirectory directory;
  AppendFile file(directory / "lines", {});
  file.append("one\n");
  CHECK(read_text(directory / "lines").empty());
  file.flush();
  CHECK(read_text(directory / "lines") == "one\n");
}
