#include "util/file.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "../util/testing.h"
#include "util/error.h"

namespace mixflow {
namespace {

namespace fs = std::filesystem;

TEST_CASE("what is written is read back, and replaces what was there") {
  const TemporaryDirectory directory;
  const fs::path file = directory.path / "a.txt";
  write_atomically(file, "a longer first version");
  write_atomically(file, std::string_view("second\0half", 11));
  CHECK(read_text(file) == std::string("second\0half", 11));
  CHECK(directory.entries() == 1);
  write_atomically(file, std::string_view());
  CHECK(read_file(file).empty());
}

TEST_CASE("whether a file can be written is found out without a trace") {
  const TemporaryDirectory directory;
  const fs::path file = directory.path / "a.txt";
  check_writable(file);
  CHECK(directory.entries() == 0);
  write_atomically(file, "kept");
  check_writable(file);
  CHECK(read_text(file) == "kept");
  CHECK(directory.entries() == 1);
  CHECK_THROWS_AS(check_writable(directory.path), UserError);
  CHECK_THROWS_AS(check_writable(directory.path / "none" / "a.txt"), UserError);
}

TEST_CASE("temporary files of killed processes are removed, and nothing else") {
  const TemporaryDirectory directory;
  const std::vector<std::string> kept = {"a.tmp",    "a.tmp.1",  "a.tmp.x.1", "a.tmp.1.x",
                                         "a.tmp..1", "a.tmp.1.", "b"};
  for (const std::string& name : kept) write_atomically(directory.path / name, "kept");
  for (const std::string name : {"a.tmp.12.0", "b.tmp.3.45", ".tmp.1.1", "a.tmp.1.tmp.2.3"})
    write_atomically(directory.path / name, "left");
  remove_temporaries(directory.path);
  CHECK(directory.entries() == kept.size());
  for (const std::string& name : kept) CHECK(fs::exists(directory.path / name));
  remove_temporaries(directory.path / "none");
}

TEST_CASE("a file without a directory in its name goes to the current one") {
  const TemporaryDirectory directory;
  const fs::path before = fs::current_path();
  fs::current_path(directory.path);
  write_atomically("plain.txt", "x");
  fs::current_path(before);
  CHECK(read_text(directory.path / "plain.txt") == "x");
}

TEST_CASE("pipes, sockets, devices and directories are refused at once") {
  const TemporaryDirectory directory;
  const std::string pipe = directory / "pipe", link = directory / "link";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  REQUIRE(::symlink(pipe.c_str(), link.c_str()) == 0);
  for (const std::string& path : {pipe, link}) {
    CHECK(message_of<UserError>([&] { read_file(path); }) ==
          path + ": is a pipe, expected a file; write its content to a file first");
  }
  for (const std::string path : {"/dev/zero", "/dev/null"}) {
    CHECK(message_of<UserError>([&] { read_file(path); }) ==
          path + ": is a device, expected a file");
  }
  CHECK(message_of<UserError>([&] { read_file(directory.path); }) ==
        directory.path.string() + ": is a directory, expected a file");
  REQUIRE(::symlink(link.c_str(), (directory / "a").c_str()) == 0);
  REQUIRE(::symlink((directory / "c").c_str(), (directory / "b").c_str()) == 0);
  REQUIRE(::symlink((directory / "b").c_str(), (directory / "c").c_str()) == 0);
  CHECK_THROWS_AS(read_file(directory / "a"), UserError);
  CHECK_THROWS_AS(read_file(directory / "b"), UserError);  // links in a circle
}

TEST_CASE("a file that memory cannot hold is refused before it is read") {
  const TemporaryDirectory directory;
  const std::string file = directory / "sparse";
  std::ofstream(file).put('x');
  fs::resize_file(file, std::uintmax_t{1} << 43);
  const std::string message = message_of<UserError>([&] { read_file(file); });
  CHECK_MESSAGE(message.starts_with(file + ": holds 8.0 TiB, more than the "), message);
  CHECK(message_of<UserError>([&] {
          read_text(file, SizeLimit{100, "config"});
        }) == file + ": larger than 100 B, which no config is; check the path");
}

TEST_CASE("files whose size is not known are read to their end") {
  CHECK(read_text("/proc/self/stat").size() > 20);
  CHECK(read_text("/proc/self/status").ends_with("\n"));
}

TEST_CASE("parts of an input are read where they stand, and a short file is noticed") {
  const TemporaryDirectory directory;
  const std::string path = directory / "a";
  write_atomically(path, "0123456789");
  const InputFile file(path);
  CHECK(file.bytes() == 10);
  std::array<char, 4> part{};
  file.read(3, std::as_writable_bytes(std::span(part)));
  CHECK(std::string(part.data(), part.size()) == "3456");
  CHECK(message_of<UserError>([&] { file.read(8, std::as_writable_bytes(std::span(part))); }) ==
        path + ": ends at byte 10, expected 12 or more; it may be truncated");
}

TEST_CASE("a missing file and a directory are the user's errors and are named") {
  const TemporaryDirectory directory;
  const std::string base = directory.path.string();
  CHECK(message_of<UserError>([&] { read_file(base + "/none.npy"); }) ==
        base + "/none.npy: no such file");
  CHECK(message_of<UserError>([&] { read_file(base); }) ==
        base + ": is a directory, expected a file");
}

TEST_CASE("writing into a missing directory or over a directory says so and leaves nothing") {
  const TemporaryDirectory directory;
  const std::string base = directory.path.string();
  CHECK(message_of<UserError>([&] { write_atomically(base + "/no/a.txt", "x"); }) ==
        base + "/no/a.txt: cannot be written: there is no directory " + base + "/no");
  fs::create_directory(base + "/taken");
  CHECK(message_of<UserError>([&] { write_atomically(base + "/taken", "x"); }) ==
        base + "/taken: cannot be written: it is a directory");
  CHECK(directory.entries() == 1);
}

TEST_CASE("a directory that may not be written is the user's error") {
  if (::geteuid() == 0) {
    MESSAGE("permissions do not bind root: not tested");
    return;
  }
  const TemporaryDirectory directory;
  fs::permissions(directory.path, fs::perms::owner_read | fs::perms::owner_exec);
  const std::string file = (directory.path / "a").string();
  CHECK(message_of<UserError>([&] { write_atomically(file, "x"); }) ==
        file + ": cannot be written: the directory " + directory.path.string() +
            " is not writable by you");
  fs::permissions(directory.path, fs::perms::owner_all);
}

TEST_CASE("a write that runs out of room fails the run, keeps the old file and leaves no other") {
  const TemporaryDirectory directory;
  const fs::path file = directory.path / "big.bin";
  write_atomically(file, "old");
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit tight = before;
  tight.rlim_cur = 4096;
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &tight) == 0);
  const std::string message =
      message_of<RunError>([&] { write_atomically(file, std::string(10'000, 'n')); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, SIG_DFL);
  CHECK(message == file.string() +
                       ": cannot be written: the file would exceed the size limit (`ulimit -f`, "
                       "or the file system's)");
  CHECK(read_text(file) == "old");
  CHECK(directory.entries() == 1);
}

}  // namespace
}  // namespace mixflow
