#include "data/table_text.h"

#include <iconv.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "util/error.h"
#include "util/shared_bytes.h"

namespace mixflow {

namespace {

constexpr std::size_t kPiece = std::size_t{1} << 20;

constexpr std::size_t kLongest = std::size_t{64} << 20;  // record

using Bytes = std::span<const std::byte>;

std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// The bytes of a file, unpacked.
class Unpacked {
 public:
  explicit Unpacked(const std::string& path) : path_(path), file_(SharedBytes::map(path)) {
    packed_ = as_text(file_.span()).starts_with("\x1F\x8B");
    rewind();
  }
  ~Unpacked() { end(); }
  Unpacked(const Unpacked&) = delete;
  Unpacked& operator=(const Unpacked&) = delete;

  bool packed() const { return packed_; }
  const SharedBytes& file() const { return file_; }

  void rewind() {
    end();
    at_ = 0;
    if (!packed_) return;
    stream_ = {};
    // 16: a gzip header is expected.
    if (inflateInit2(&stream_, 16 + MAX_WBITS) != Z_OK) {
      throw RunError(path_ + ": zlib cannot start");
    }
    running_ = true;
  }

  // Appends up to kPiece bytes; false at the end.
  bool read(std::string& to) { return packed_ ? inflate_some(to) : copy_some(to); }

 private:
  void end() {
    if (running_) inflateEnd(&stream_);
    running_ = false;
  }

  bool copy_some(std::string& to) {
    const std::size_t count = std::min(kPiece, file_.size() - at_);
    to.append(as_text(file_.span().subspan(at_, count)));
    file_.release(at_, count);
    at_ += count;
    return count > 0;
  }

  bool inflate_some(std::string& to) {
    const std::size_t before = to.size();
    to.resize(before + kPiece);
    stream_.next_out = reinterpret_cast<Bytef*>(to.data() + before);
    stream_.avail_out = kPiece;
    while (running_ && stream_.avail_out > 0) {
      const std::size_t count = std::min(kPiece, file_.size() - at_);
      stream_.next_in =
          reinterpret_cast<Bytef*>(const_cast<std::byte*>(file_.data() + at_));
      stream_.avail_in = static_cast<uInt>(count);
      const int status = inflate(&stream_, Z_NO_FLUSH);
      at_ += count - stream_.avail_in;
      if (status == Z_STREAM_END) {
        next_member();
      } else if (status != Z_OK || (count == 0 && stream_.avail_out > 0)) {
        throw UserError(path_ + (at_ == file_.size() ? ": truncated inside its gzip data"
                                                     : ": its gzip data is damaged"));
      }
    }
    to.resize(to.size() - stream_.avail_out);
    return to.size() > before;
  }

  // A .gz may hold several, one after another; what else follows is padding.
  void next_member() {
    if (as_text(file_.span().subspan(at_)).starts_with("\x1F\x8B")) {
      inflateReset(&stream_);
    } else {
      end();
    }
  }

  const std::string path_;
  SharedBytes file_;
  bool packed_ = false, running_ = false;
  std::size_t at_ = 0;
  z_stream stream_{};
};

// UTF-16 to UTF-8.
class Converter {
 public:
  Converter(const std::string& path, const char* encoding)
      : path_(path), state_(iconv_open("UTF-8", encoding)) {
    if (state_ == reinterpret_cast<iconv_t>(-1)) {
      throw RunError(path + ": this system's iconv cannot read " + encoding);
    }
  }
  ~Converter() { iconv_close(state_); }
  Converter(const Converter&) = delete;
  Converter& operator=(const Converter&) = delete;

  // Converts all of `from` but the bytes of a character that is not whole, which stay in it.
  void convert(std::string& from, std::string& to, bool at_end) {
    char* in = from.data();
    std::size_t left = from.size();
    const std::size_t before = to.size();
    to.resize(before + from.size() / 2 * 3 + 4);  // a UTF-16 unit takes three bytes at most
    char* out = to.data() + before;
    std::size_t room = to.size() - before;
    const bool whole = iconv(state_, &in, &left, &out, &room) != static_cast<std::size_t>(-1);
    if (!whole && (errno != EINVAL || at_end)) {
      throw UserError(path_ + ": damaged: it is not whole UTF-16; save it as UTF-8");
    }
    to.resize(to.size() - room);
    from.erase(0, from.size() - left);
  }

 private:
  const std::string path_;
  iconv_t state_;
};

// The encoding of UTF-16, by its byte-order mark or by the zeros of ASCII letters; null: bytes.
const char* utf16(std::string_view begin) {
  if (begin.starts_with("\xFF\xFE")) return "UTF-16LE";
  if (begin.starts_with("\xFE\xFF")) return "UTF-16BE";
  const std::size_t seen = std::min<std::size_t>(begin.size(), 64) / 2 * 2;
  std::size_t even = 0, odd = 0;
  for (std::size_t i = 0; i < seen; i += 2) {
    even += begin[i] == '\0';
    odd += begin[i + 1] == '\0';
  }
  if (seen < 4) return nullptr;
  if (odd == seen / 2 && even == 0) return "UTF-16LE";
  return even == seen / 2 && odd == 0 ? "UTF-16BE" : nullptr;
}

// Where the records that begin in `text` end: after the last line end outside of quotes.
// npos: there is none.
std::size_t end_of_records(std::string_view text) {
  const std::size_t end = text.find_last_of('\n');
  if (end == std::string_view::npos) return end;
  if (text.find('"') == std::string_view::npos) return end + 1;
  std::size_t last = std::string_view::npos;
  bool quoted = false;
  for (std::size_t at = 0; at <= end; ++at) {
    if (text[at] == '"') quoted = !quoted;  // "" inside of quotes: twice
    if (text[at] == '\n' && !quoted) last = at + 1;
  }
  return last;
}

}  // namespace

struct TableText::State {
  explicit State(const std::string& path) : name(path), bytes(path) {}

  // Plain UTF-8 (or bytes): pieces of the mapping itself.
  bool direct() const { return encoding == nullptr && !bytes.packed(); }

  std::string_view next_direct() {
    const SharedBytes& file = bytes.file();
    file.release(at - given, given);
    for (std::size_t size = kPiece;; size *= 2) {
      const std::string_view rest = as_text(file.span().subspan(at));
      std::string_view piece = rest.substr(0, size);
      if (piece.size() < rest.size()) {
        const std::size_t end = end_of_records(piece);
        if (end == std::string_view::npos) {
          check_record(piece.size());
          continue;
        }
        piece = piece.substr(0, end);
      }
      at += piece.size();
      given = piece.size();
      return piece;
    }
  }

  std::string_view next_buffered() {
    buffer.erase(0, given);
    given = 0;
    for (bool more = !ended; more;) {
      more = read_more();
      const std::size_t end = more ? end_of_records(buffer) : buffer.size();
      if (end != std::string::npos && end > 0) {
        given = end;
        break;
      }
      if (more) check_record(buffer.size());
    }
    if (given == 0) given = buffer.size();
    return std::string_view(buffer).substr(0, given);
  }

  void check_record(std::size_t bytes_of_it) const {
    if (bytes_of_it <= kLongest) return;
    throw UserError(name + ": a row of more than 64 MiB; is a quote never closed, or is it no table?");
  }

  bool read_more() {
    const bool more = bytes.read(converter ? raw : buffer);
    ended = !more;
    if (converter) converter->convert(raw, buffer, ended);
    return more;
  }

  const std::string name;
  Unpacked bytes;
  const char* encoding = nullptr;
  std::unique_ptr<Converter> converter;
  std::string raw, buffer;
  std::size_t at = 0, given = 0;
  bool ended = false, first = true;
};

TableText::TableText(const std::string& path) : state_(std::make_unique<State>(path)) {
  std::string begin;
  state_->bytes.read(begin);
  state_->encoding = utf16(begin);
  rewind();
}

TableText::~TableText() = default;
TableText::TableText(TableText&&) noexcept = default;

void TableText::rewind() {
  State& state = *state_;
  state.bytes.rewind();
  if (state.encoding != nullptr) {
    state.converter = std::make_unique<Converter>(state.name, state.encoding);
  }
  state.raw.clear();
  state.buffer.clear();
  state.at = state.given = 0;
  state.ended = false;
  state.first = true;
}

std::string_view TableText::next() {
  State& state = *state_;
  std::string_view piece = state.direct() ? state.next_direct() : state.next_buffered();
  if (piece.find('\0') != std::string_view::npos) {
    throw UserError(state.name + ": holds NUL bytes, so it is no text of UTF-8 or UTF-16");
  }
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (state.first && piece.starts_with(kByteOrderMark)) piece.remove_prefix(kByteOrderMark.size());
  state.first = false;
  return piece;
}

TableText::Size TableText::size() {
  rewind();
  Size size;
  for (std::string_view piece = next(); !piece.empty(); piece = next()) {
    size.bytes += std::ssize(piece);
    size.lines += std::ranges::count(piece, '\n');
    if (!piece.ends_with('\n')) ++size.lines;
  }
  rewind();
  return size;
}

std::string TableText::form() const {
  std::string text = state_->bytes.packed() ? "gzip" : "";
  if (state_->encoding != nullptr) text += (text.empty() ? "" : ", ") + std::string("UTF-16");
  return text;
}

}  // namespace mixflow
