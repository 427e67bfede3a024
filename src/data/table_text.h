// The text of a table as UTF-8, in pieces of whole records, whatever its encoding and packing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace mixflow {

class TableText {
 public:
  // Plain files are mapped, .gz files (by their first bytes) unpacked piece by piece, UTF-16
  // converted. Throws UserError for what cannot be read or is no text.
  explicit TableText(const std::string& path);
  ~TableText();
  TableText(TableText&&) noexcept;

  // The next piece, valid until the next call: it ends after a line end that is not inside quotes,
  // or with the text. Empty at the end.
  std::string_view next();
  void rewind();

  // Of all pieces together; reads the whole text once.
  struct Size {
    std::int64_t bytes = 0, lines = 0;
  };
  Size size();

  // What it took to read: "gzip", "UTF-16", "gzip, UTF-16" or "".
  std::string form() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace mixflow
