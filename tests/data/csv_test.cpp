#include "data/csv.h"

#include <doctest/doctest.h>
#include <zlib.h>

#include <cmath>

#include "../util/testing.h"
#include "data/csv_columns.h"
#include "data/table_records.h"
#include "data/table_text.h"
#include "util/error.h"
#include "util/file.h"

namespace mixflow {
namespace {

using Numbers = std::vector<double>;
using Names = std::vector<std::string>;

// A table of a file t.csv.
struct Table {
  TemporaryDirectory directory;
  CsvChoice choice;
  std::string name = "t.csv";

  explicit Table(CsvChoice what = {}) : choice(std::move(what)) {}
  CsvTable read(const std::string& text) const {
    write_atomically(directory / name, text);
    const std::vector<std::string> paths = {directory / name};
    return read_csv(paths, choice);
  }
  Numbers x(const std::string& text) const {
    CsvTable table = read(text);
    return values_of(table.x());
  }
  // Without the directory.
  std::string local(std::string message) const {
    const std::string prefix = directory.path.string() + "/";
    for (std::size_t at = message.find(prefix); at != std::string::npos;
         at = message.find(prefix)) {
      message.erase(at, prefix.size());
    }
    return message;
  }
  std::string refusal(const std::string& text) const {
    return local(message_of<UserError>([&] { read(text); }));
  }
  std::string notes(const std::string& text) const {
    std::string all;
    for (const std::string& note : read(text).notes) all += local(note) + "\n";
    return all;
  }
};

Names labels_of(const Array& y) {
  Names labels;
  for (const double code : values_of(y)) labels.push_back(y.texts[static_cast<std::size_t>(code)]);
  return labels;
}

std::string utf16(const std::string& ascii, bool big) {
  std::string text = big ? "\xFE\xFF" : "\xFF\xFE";
  for (const char c : ascii) {
    const char units[] = {big ? '\0' : c, big ? c : '\0'};
    text.append(units, 2);
  }
  return text;
}

std::string gzip(const std::string& text) {
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string packed(text.size() + 1000, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

TEST_CASE("a table without a header is all numbers") {
  CsvTable table = Table().read("1,2.5,-3e2\n4,+5, 6 \n");
  CHECK(table.names == Names{"column 0", "column 1", "column 2"});
  CHECK(table.rows == std::vector<std::int64_t>{2});
  const Array x = table.x();
  CHECK(x.type() == "number[2,3]");
  CHECK(values_of(x) == Numbers{1, 2.5, -300, 4, 5, 6});
}

TEST_CASE("single numbers are those that a double rounds to") {
  CsvTable table = Table({.single = true}).read("0.1,16777217\n1e-50,3\n");
  const Array x = table.x();
  CHECK(x.type() == "float32[2,2]");
  CHECK(values_of(x) == Numbers{0.1f, 16777216, 0, 3});
  CHECK(Table({.single = true}).refusal("1,2\n3,1e39\n") ==
        "t.csv:2:3: holds 1e39, too large for precision f32; scale the data or use precision: f64");
}

TEST_CASE("a first row without numbers is a header, quoted or not") {
  CsvTable table = Table().read("width, height ,\"a \"\"b\"\",\nc\"\n1,2,3\n");
  CHECK(table.names == Names{"width", "height", "a \"b\",\nc"});
  CHECK(values_of(table.x()) == Numbers{1, 2, 3});
}

TEST_CASE("a first row with numbers is a header if it names a column or stands above numbers") {
  CHECK(Table({.target = "y"}).read("0,1,y\n5,6,7\n").names == Names{"0", "1"});
  CHECK(Table().read("0,1,y\n5,6,7\n").names == Names{"0", "1", "y"});
  // Texts above texts are labels.
  CHECK(Table({.target = "-1", .text_target = true}).read("0,1,a\n5,6,b\n").rows[0] == 2);
  Table table;
  table.choice.form.header = "true";
  CHECK(table.x("1,2\n3,4\n") == Numbers{3, 4});
  table.choice.form.header = "false";
  CHECK(table.refusal("a,b\n3,4\n") ==
        "t.csv:1:1: expected a number, found \"a\" in column 0; data.ignore: [0] leaves the column "
        "out");
}

TEST_CASE(
    "CRLF, a byte-order mark, blank lines, quoted numbers and a missing last newline are fine") {
  CsvTable table = Table().read(
      "\xEF\xBB\xBF"
      "a,b\r\n\r\n\"1\",2\r\n  \r\n3,\"4\"");
  CHECK(table.names == Names{"a", "b"});
  CHECK(values_of(table.x()) == Numbers{1, 2, 3, 4});
}

TEST_CASE("separators and decimal signs are found") {
  const auto check = [](const std::string& text, const std::string& how) {
    CAPTURE(text);
    CsvTable table = Table().read(text);
    CHECK(values_of(table.x()) == Numbers{1.5, -2, 3, 0.25, 5, -6.5});
    CHECK(table.files[0].content.find(how) != std::string::npos);
  };
  check("a,b,c\n1.5,-2,3\n0.25,5,-6.5\n", "separated by commas, a header");
  check("a;b;c\n1,5;-2;3\n0,25;5;-6,5\n", "separated by semicolons, decimal commas, a header");
  check("1,5;-2;3\n0,25;5;-6,5\n", "separated by semicolons, decimal commas, no header");
  check("a;b;c\n1.5;-2;3\n0.25;5;-6.5\n", "separated by semicolons, a header");
  check("a\tb\tc\n1.5\t-2\t3\n0.25\t5\t-6.5\n", "separated by tabs, a header");
  check("a\tb\tc\n1,5\t-2\t3\n0,25\t5\t-6,5\n", "separated by tabs, decimal commas");
  check("a|b|c\n1.5|-2|3\n0.25|5|-6.5\n", "separated by bars");
  check("a b c\n1.5 -2 3\n0.25 5 -6.5\n", "separated by blanks");
  check("  1.5   -2\t3  \n  0.25    5 -6.5\n", "separated by blanks, no header");
  check("a, b, c\n1.5, -2, 3\n0.25, 5, -6.5\n", "separated by commas");
}

TEST_CASE("a form that is said is taken") {
  Table table;
  table.choice.form.separator = "semicolon";
  CHECK(table.x("a,b\n1,2\n") == Numbers{1.2});  // one column
  table.choice.form = {.separator = "auto", .decimal = "comma"};
  CHECK(table.x("1,5;2\n3;4\n") == Numbers{1.5, 2, 3, 4});
  CHECK(table.x("1,5\n2,25\n") == Numbers{1.5, 2.25});  // one column: a decimal sign cuts none
  table.choice.form.decimal = "point";
  CHECK(table.refusal("a;b\n1,5;2\n3;4\n").ends_with("data.decimal: comma reads it as a number"));
}

TEST_CASE("a bad cell is named by file, line and column") {
  const Table table;
  CHECK(table.refusal("a,b\n1,2\n3,x7\n") ==
        "t.csv:3:3: expected a number, found \"x7\" in column 1 (\"b\"); data.ignore: [b] leaves "
        "the column out");
  CHECK(table.refusal("1,2\n3,4 5\n").starts_with("t.csv:2:3: expected a number, found \"4 5\""));
  CHECK(table.refusal("1,2\n3,1e999\n") ==
        "t.csv:2:3: every value must be finite, found 1e999");
  CHECK(table.refusal("1,2\n3,inf\n") == "t.csv:2:3: every value must be finite, found inf");
  CHECK(table.refusal("\"a\nb\",c\n1,x\n").starts_with("t.csv:3:3: expected a number, found"));
}

TEST_CASE("rows of another length, open quotes and tables without rows are refused") {
  const Table table;
  CHECK(table.refusal("a,b\n1,2\n3\n") ==
        "t.csv:3:1: 1 cells, expected 2 as in line 1; if cells are separated by something else "
        "than commas, say it by data.separator");
  CHECK(table.refusal("1,2,3\n3,4\n") == "t.csv:2:1: 2 cells, expected 3 as in line 1");
  CHECK(table.refusal("1,2\n3,\"4\n5,6\n") == "t.csv:2:3: this quote is never closed");
  CHECK(table.refusal("1,2\n\"3\"x,4\n") ==
        "t.csv:2:4: expected a separator after the closing quote");
  CHECK(table.refusal("a,b\n") == "t.csv: holds no rows of numbers");
  CHECK(table.refusal("") == "t.csv: holds no rows of numbers");
  CHECK(table.refusal(std::string("1,2\n3,\0004\n", 9)) ==
        "t.csv: holds NUL bytes, so it is no text of UTF-8 or UTF-16");
}

TEST_CASE("missing cells are an error, or drop their rows, or become means of training rows") {
  Table table({.target = "y"});
  const std::string text = "a,b,y\n1,2,0\n,4,1\n3,NA,2\n5,8,?\n7,null,4\n9,nan,5\n";
  CHECK(table.refusal(text) ==
        "t.csv:3:1: expected a number, found an empty cell; data.missing: drop leaves out such "
        "rows, mean fills in the column's mean");
  table.choice.form.missing = "drop";
  CsvTable dropped = table.read(text);
  CHECK(values_of(*dropped.y) == Numbers{0});
  CHECK(values_of(dropped.x()) == Numbers{1, 2});
  CHECK(table.notes(text) == "t.csv: 5 rows with missing values are left out\n");
  table.choice.form.missing = "mean";
  CHECK(table.refusal(text) ==
        "t.csv:5:5: no target: found \"?\"; data.missing: drop leaves out such rows");
  CsvTable filled = table.read("a,b,y\n1,2,0\n,4,1\n3,NA,2\n5,8,3\n");
  CHECK(filled.missing == 2);
  const std::vector<std::int64_t> training = {0, 1, 2};
  filled.fill_missing(training);
  CHECK(values_of(filled.x()) == Numbers{1, 2, 2, 4, 3, 3, 5, 8});
  CsvTable empty = table.read("a,b,y\n,2,0\n,4,1\n3,5,2\n");
  const std::vector<std::int64_t> first = {0, 1};
  CHECK(message_of<UserError>([&] { empty.fill_missing(first); }).find("\"a\" has no value in") !=
        std::string::npos);
}

TEST_CASE("targets are found by name and by number, and may be texts where they are classes") {
  const std::string text = "a,b,y\n1,2,no\n3,4,yes\n5,6,no\n";
  for (const std::string target : {"y", "2", "-1"}) {
    CsvTable table = Table({.target = target, .text_target = true}).read(text);
    CHECK(table.y->type() == "text[3]");
    CHECK(labels_of(*table.y) == Names{"no", "yes", "no"});
    CHECK(values_of(table.x()) == Numbers{1, 2, 3, 4, 5, 6});
  }
  CHECK(values_of(*Table({.target = "0", .text_target = true}).read("y,b\n3,0\n1,2\n").y) ==
        Numbers{3, 1});
  CHECK(Table({.target = "y"}).refusal(text).starts_with(
      "t.csv:2:5: expected a number, found \"no\" in column 2 (\"y\")"));
  CHECK(Table({.target = "z"}).refusal(text) == "t.csv: no column \"z\"; it has a, b, y");
  CHECK(Table({.target = "3"}).refusal(text) ==
        "t.csv: no column 3; it has 3 columns, 0 .. 2 or -1 for the last");
  CHECK(Table({.target = "y"}).refusal("1,2\n3,4\n") ==
        "t.csv: no column \"y\"; the file has no header row: name the column by its number, from "
        "0, or -1 for the last");
  CHECK(Table({.target = "a"}).refusal("a,b,a\n1,2,3\n") ==
        "t.csv: two columns are called \"a\"; name the one by its number, from 0");
  CHECK(Table({.target = "y"}).refusal("y\n1\n") ==
        "t.csv: holds the target alone, expected further columns for x");
}

TEST_CASE("columns and ignore choose x's columns") {
  const std::string text = "a,city,b,y\n1,Rome,2,3\n4,Oslo,5,6\n";
  CHECK(Table({.target = "y", .ignore = {"city"}}).x(text) == Numbers{1, 2, 4, 5});
  CHECK(Table({.target = "y", .columns = {"b"}}).x(text) == Numbers{2, 5});
  CHECK(Table({.target = "y", .columns = {"0", "2"}}).x(text) == Numbers{1, 2, 4, 5});
  CHECK(Table({.target = "y"}).refusal(text) ==
        "t.csv:2:3: expected a number, found \"Rome\" in column 1 (\"city\"); data.ignore: [city] "
        "leaves the column out");
  CHECK(Table({.target = "y", .ignore = {"y", "city"}}).refusal(text) ==
        "t.csv: column 3 (\"y\") is both data.target_column and in data.ignore; remove it from one "
        "of them");
  CHECK(Table({.target = "y", .ignore = {"town"}}).refusal(text) ==
        "t.csv: no column \"town\"; it has a, city, b, y");
}

TEST_CASE("truth values are 0 and 1") {
  CHECK(Table().x("a,b\nTrue,1\nfalse,2\n") == Numbers{1, 1, 0, 2});
}

TEST_CASE("an index is never a feature in silence") {
  const Table table({.target = "y"});
  const std::string left_out =
      "t.csv: the first column has no name, so it is an index and no feature; data.columns would "
      "take it\n";
  for (const std::string name : {"", "Unnamed: 0"}) {
    const std::string text = name + ",a,y\n0,5,1\n1,6,0\n";
    CHECK(table.x(text) == Numbers{5, 6});
    CHECK(table.notes(text) == left_out);
    CHECK(Table({.target = "y", .columns = {"0", "a"}}).x(text) == Numbers{0, 5, 1, 6});
    CHECK(Table({.target = "y", .ignore = {"0"}}).notes(text) == "");
  }
  // R: one cell fewer in the header.
  CHECK(table.x("a\ty\n\"r1\"\t5\t1\n\"r2\"\t6\t0\n") == Numbers{5, 6});
  std::string counted = "id,a,y\n";
  for (int i = 1; i <= 10; ++i) counted += std::to_string(i) + ",7," + std::to_string(i % 2) + "\n";
  CHECK(table.notes(counted) ==
        "t.csv: column 0 (\"id\") counts the rows, but is a feature; if it is an index, "
        "data.ignore: [id] leaves it out\n");
  CHECK(Table({.target = "y", .ignore = {"id"}}).notes(counted) == "");
  // A separator at the end of each line.
  CHECK(table.x("a,y,\n5,1,\n6,0,\n") == Numbers{5, 6});
  CHECK(table.refusal("a,y,\n5,1,\n6,0,3\n") ==
        "t.csv:3:5: column 2 has no name; leave it out by data.ignore: [2], or choose by "
        "data.columns");
}

TEST_CASE("UTF-16 and gzip are read like plain text, cut anywhere") {
  std::string plain = "a,b\n";
  Numbers expected;
  for (int i = 0; i < 200'000; ++i) {
    plain += std::to_string(i) + "," + std::to_string(-i) + ".5\n";
    expected.push_back(i);
    expected.push_back(-i - (i == 0 ? -0.5 : 0.5));
  }
  expected[1] = -0.5;
  plain.replace(plain.find("0,0.5"), 5, "0,-0.5");
  Table table;
  CHECK(table.x(plain) == expected);
  CHECK(table.x(utf16(plain, false)) == expected);
  CHECK(table.x(utf16(plain, true)) == expected);
  CHECK(table.x(utf16(plain, true).substr(2)) == expected);  // no byte-order mark
  table.name = "t.csv.gz";
  const std::string packed = gzip(plain);
  CHECK(table.x(packed) == expected);
  CHECK(table.x(gzip(plain.substr(0, 500'000)) + gzip(plain.substr(500'000))) == expected);
  CHECK(table.x(gzip(utf16(plain, false))) == expected);
  CHECK(table.read(packed).files[0].content.ends_with("gzip"));
  CHECK(table.refusal(packed.substr(0, packed.size() / 2)) ==
        "t.csv.gz: truncated inside its gzip data");
  std::string damaged = packed;
  damaged[packed.size() / 2] ^= 0x55;
  CHECK(table.refusal(damaged).starts_with("t.csv.gz: "));
  CHECK(table.refusal(utf16("a,b\n1,2\n", false) + "x").ends_with(
      "damaged: it is not whole UTF-16; save it as UTF-8"));
}

TEST_CASE("pieces end between records, also where quotes hold line ends") {
  std::string text = "a,b\n";
  Numbers expected;
  for (int i = 0; i < 60'000; ++i) {
    text += "\"" + std::to_string(i) + "\n\n\",\"" + std::to_string(i) + "\"\n";
    expected.push_back(i);
    expected.push_back(i);
  }
  CHECK(Table({.ignore = {"a"}}).read(text).rows[0] == 60'000);
}

TEST_CASE("several files are one table, and must have the same columns") {
  const TemporaryDirectory directory;
  write_atomically(directory / "a.csv", "u,v,y\n1,2,no\n3,4,yes\n");
  write_atomically(directory / "b.csv", "u;v;y\n5,5;6;yes\n");
  write_atomically(directory / "c.csv", "u,w,y\n5,6,yes\n");
  const CsvChoice choice{.target = "y", .text_target = true};
  const std::vector<std::string> paths = {directory / "a.csv", directory / "b.csv"};
  CsvTable table = read_csv(paths, choice);
  CHECK(table.rows == std::vector<std::int64_t>{2, 1});
  CHECK(labels_of(*table.y) == Names{"no", "yes", "yes"});
  CHECK(values_of(table.x()) == Numbers{1, 2, 3, 4, 5.5, 6});
  const std::vector<std::string> differ = {directory / "a.csv", directory / "c.csv"};
  CHECK(message_of<UserError>([&] { read_csv(differ, choice); })
            .ends_with("c.csv: has column 1 (\"w\") where " + directory / "a.csv" +
                       " has column 1 (\"v\"); all files of a data set need the same columns"));
}

}  // namespace
}  // namespace mixflow
