// Fingerprints of content.
#include "util/content_hash.h"

#include <doctest/doctest.h>

#include "testing.h"
#include "util/error.h"
#include "util/file.h"

using namespace mixflow;

TEST_CASE("a content hash is XXH3's of 128 bits, whole or in pieces") {
  CHECK(hash_of_text("") == "99aa06d3014798d86001c324468d497f");  // xxhsum -H2
  ContentHash pieces;
  pieces.add("some ");
  ContentHash copy = pieces;
  pieces.add("text");
  CHECK(pieces.digits() == hash_of_text("some text"));
  CHECK(pieces.digits() == pieces.digits());
  copy.add("thing");
  CHECK(copy.digits() == hash_of_text("some thing"));
  CHECK(copy.digits() != pieces.digits());
}

TEST_CASE("a file's hash is that of its bytes, and its size is told") {
  const TemporaryDirectory directory;
  const std::string text(3'000'000, 'x');
  write_atomically(directory / "file", text);
  ContentHash hash;
  CHECK(add_file(directory / "file", hash) == 3'000'000);
  CHECK(hash.digits() == hash_of_text(text));
  CHECK(message_of<UserError>([&] { add_file(directory / "none", hash); }).find("no such file") !=
        std::string::npos);
}
