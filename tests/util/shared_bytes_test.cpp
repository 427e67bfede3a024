#include "util/shared_bytes.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "testing.h"
#include "util/error.h"
#include "util/file.h"

namespace mixflow {
namespace {

std::string text_of(const SharedBytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST_CASE("a mapped file stays readable after the object that mapped it is gone") {
  const TemporaryDirectory d;
  write_atomically(d / "a", "hello world");
  SharedBytes word;
  {
    const SharedBytes all = SharedBytes::map(d / "a");
    CHECK(text_of(all) == "hello world");
    word = all.part(all.span().subspan(6));
  }
  CHECK(text_of(word) == "world");
  CHECK(word.mapped());
  word.release(0, word.size());
  CHECK(text_of(word) == "world");
}

TEST_CASE("releasing a buffer keeps its bytes") {
  const SharedBytes buffer = SharedBytes::own(std::vector<std::byte>(100'000, std::byte{7}));
  buffer.release(0, buffer.size());
  CHECK_FALSE(buffer.mapped());
  CHECK(std::to_integer<int>(buffer.data()[50'000]) == 7);
}

TEST_CASE("released pages leave the process and come back from the file") {
  const TemporaryDirectory d;
  write_atomically(d / "a", std::string(std::size_t{8} << 20, 'x'));
  const SharedBytes bytes = SharedBytes::map(d / "a");
  const auto resident = [] {
    std::ifstream statm("/proc/self/statm");
    std::int64_t size = 0, pages = 0;
    statm >> size >> pages;
    return pages * ::sysconf(_SC_PAGESIZE);
  };
  std::size_t count = 0;
  const auto touch = [&] {
    for (std::size_t i = 0; i < bytes.size(); i += 512) count += bytes.data()[i] == std::byte{'x'};
  };
  touch();
  const std::int64_t before = resident();
  bytes.release(0, bytes.size());
  CHECK(resident() < before - (std::int64_t{6} << 20));
  touch();
  CHECK(count == 2 * bytes.size() / 512);
}

TEST_CASE("what is no regular file is refused at once") {
  const TemporaryDirectory d;
  CHECK(message_of<UserError>([&] { SharedBytes::map(d / "none"); }) == d / "none: no such file");
  CHECK_THROWS_AS(SharedBytes::map(d / "."), UserError);
  CHECK_THROWS_AS(SharedBytes::map("/dev/zero"), UserError);
  REQUIRE(::mkfifo((d / "pipe").c_str(), 0600) == 0);
  CHECK_THROWS_AS(SharedBytes::map(d / "pipe"), UserError);
  write_atomically(d / "empty", "");
  CHECK(SharedBytes::map(d / "empty").size() == 0);
}

TEST_CASE("a file that is cut shorter while it is mapped ends the process with a message") {
  const TemporaryDirectory d;
  write_atomically(d / "a", std::string(100'000, 'x'));
  const std::string messages = d / "stderr";
  const pid_t child = ::fork();
  if (child == 0) {
    if (std::freopen(messages.c_str(), "w", stderr) == nullptr) _exit(3);
    const SharedBytes bytes = SharedBytes::map(d / "a");
    if (::truncate((d / "a").c_str(), 10) != 0) _exit(4);
    _exit(bytes.data()[90'000] == std::byte{'x'} ? 5 : 6);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 1);
  CHECK(read_text(messages) == "mixflow: run failed: " + (d / "a") +
                                   ": cannot be read: it has become shorter since it was opened, "
                                   "or the disk fails\n");
}

}  // namespace
}  // namespace mixflow
