// What a source has read, for the terminal, log.txt and summary.json.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mixflow {

struct DataFacts {
  struct File {
    std::string path;
    std::string content;  // float32[1797,64]; uint16, 1000 ids; 3 columns, 150 rows
    std::int64_t bytes = 0;
  };
  struct Split {
    std::string name;  // train, validation, test
    std::int64_t count = 0;
    std::string unit;  // rows, tokens, classes
  };
  struct Class {
    std::string label;  // as the file has it
    std::int64_t rows = 0;
  };
  struct Values {
    std::string name;  // x, y, tokens
    double smallest = 0, largest = 0;
  };

  std::vector<File> files;
  std::vector<Split> splits;
  std::vector<Class> classes;  // in the order of their numbers 0, 1, ..
  std::vector<Values> ranges;
  std::vector<std::string> notes;     // what the reader did or noticed, a sentence each
  std::vector<std::string> warnings;  // what is probably not meant, and the key that changes it

  bool empty() const { return files.empty(); }
};

// For people: files and what they hold, splits, classes and ranges, in lines of up to 80 columns.
std::vector<std::string> to_lines(const DataFacts& facts);
// As text of JSON, an object, and back; UserError for other text.
std::string to_json(const DataFacts& facts);
DataFacts parse_facts(const std::string& json);

}  // namespace mixflow
