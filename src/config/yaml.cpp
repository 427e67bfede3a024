#include "config/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <utility>

#include "util/error.h"
#include "util/memory.h"
#include "util/text.h"

namespace mixflow {
namespace {

constexpr std::size_t kMaxDepth = 32;
// After aliases are copied: stops "billion laughs", of values and of long texts.
constexpr std::size_t kMaxNodes = 10'000;
constexpr std::size_t kMaxTextBytes = std::size_t{4} << 20;

struct TreeSize {
  std::size_t nodes = 0, text_bytes = 0;
};

void add_size(const YamlNode& node, TreeSize& size) {
  ++size.nodes;
  size.text_bytes += node.text.size();
  for (const YamlNode& item : node.items) add_size(item, size);
  for (const YamlEntry& entry : node.entries) {
    size.text_bytes += entry.key.size();
    add_size(entry.value, size);
  }
}

// The lines of a text, found once.
class Lines {
 public:
  explicit Lines(std::string_view text) : text_(text), begins_{0} {
    for (std::size_t at = 0; (at = text.find('\n', at)) != std::string_view::npos;) {
      begins_.push_back(++at);
    }
  }
  // From 1; empty for a line that is not there.
  std::string_view operator[](int line) const {
    if (line < 1 || static_cast<std::size_t>(line) > begins_.size()) return {};
    const std::string_view rest = text_.substr(begins_[static_cast<std::size_t>(line) - 1]);
    return rest.substr(0, rest.find('\n'));
  }

 private:
  std::string_view text_;
  std::vector<std::size_t> begins_;
};

// Whether the quote that opens at text[0] closes on its line.
bool quote_closes(std::string_view text) {
  const char quote = text[0];
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (quote == '"' && text[i] == '\\') {
      ++i;
    } else if (text[i] == quote) {
      if (quote == '"' || i + 1 >= text.size() || text[i + 1] != quote) return true;
      ++i;  // '' inside single quotes
    }
  }
  return false;
}

// What yaml-cpp's messages mean to somebody who is editing a file.
std::string translated(const std::string& message) {
  struct Translation {
    std::string_view theirs, ours;
  };
  static constexpr std::array kTranslations = {
      Translation{"illegal map value",
                  "unexpected \":\"; check the indentation of this line and the one above, and "
                  "quote text that contains \": \""},
      Translation{"illegal flow end", "a closing bracket without an opening one; remove it"},
      Translation{"illegal block entry", "unexpected \"- \"; give list items the same indentation"},
      Translation{"unknown token", "a value cannot start with this character; quote the value"},
      Translation{"the referenced anchor is not defined",
                  "this alias (*) has no anchor; define it above with &"},
      Translation{"end of map not found",
                  "wrong indentation; keys of one section start in one column"},
      Translation{"end of sequence not found",
                  "wrong indentation; items of one list start in one column"},
  };
  for (const Translation& t : kTranslations) {
    // Newer versions append what it is about.
    if (message.starts_with(t.theirs)) return std::string(t.ours);
  }
  return "not valid YAML: " + message;
}

// Builds the tree from yaml-cpp's events. Containers that are still open are on a stack.
class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(std::string_view text, TextPlace start, std::string path)
      : lines_(text), start_(std::move(start)), path_(std::move(path)) {}

  YamlNode take_root() { return std::move(root_); }
  bool started_second() const { return documents_ > 1; }
  const TextPlace& second_start() const { return second_; }

  // Inside a file a mark is a place; inside an override the override is.
  TextPlace place(const YAML::Mark& mark) const {
    return start_.line == 0 ? start_ : TextPlace{start_.source, mark.line + 1, mark.column + 1};
  }

  std::string current_path() const {
    std::string path = path_;
    for (const Open& open : open_) {
      if (open.node.kind == YamlNode::Kind::list) {
        path = item_path(path, open.node.items.size());
      } else if (open.key) {
        path = child_path(path, open.key->first);
      }
    }
    return path;
  }

  [[noreturn]] void fail_syntax(const YAML::Exception& error) const {
    const bool brackets =
        error.msg == "end of map flow not found" || error.msg == "end of sequence flow not found";
    if (brackets && !open_.empty()) {
      const bool map = open_.back().node.kind == YamlNode::Kind::map;
      fail_at(open_.back().node.place, path_,
              std::string("the ") + (map ? "\"{\"" : "\"[\"") + " here is not closed; add " +
                  (map ? "\"}\"" : "\"]\"") + " or the missing comma");
    }
    if (error.msg == "illegal flow end" && !open_.empty() && open_.back().in_brackets) {
      const TextPlace& opened = open_.back().node.place;
      fail_at(place(error.mark), path_,
              "this bracket does not match the one that opens in line " +
                  std::to_string(opened.line) + ", column " + std::to_string(opened.column));
    }
    // yaml-cpp often trips on the line after the one with the tab.
    for (const int line : {error.mark.line + 1, error.mark.line}) {
      const std::string_view source = lines_[line];
      const std::size_t tab = source.substr(0, source.find_first_not_of(" \t")).find('\t');
      if (line < 1 || tab == std::string_view::npos) continue;
      fail_at({start_.source, start_.line == 0 ? 0 : line, static_cast<int>(tab) + 1}, path_,
              "a tab in the indentation; YAML indents with spaces only");
    }
    fail_at(place(error.mark), path_, translated(error.msg));
  }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ == 2) second_ = place(mark);
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    YamlNode node = make(YamlNode::Kind::null, mark, "");
    if (!open_.empty() && open_.back().key) node.place = open_.back().key->second;
    add(std::move(node), anchor);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    if (tag == "!" && runs_over_lines(mark)) {
      fail_at(place(mark), current_path(), "the quote that opens here does not close on this line");
    }
    YamlNode node = make(YamlNode::Kind::scalar, mark, tag == "!" ? "" : tag);
    node.text = value;
    node.quoted = tag == "!";
    add(std::move(node), anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) {
      fail_at(place(mark), current_path(),
              "this alias (*) stands inside what it refers to; move its anchor (&) elsewhere");
    }
    YamlNode copy = found->second;
    add_size(copy, size_);
    check_size(mark);
    add(std::move(copy), 0);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value style) override {
    open(make(YamlNode::Kind::list, mark, tag), anchor, style);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value style) override {
    open(make(YamlNode::Kind::map, mark, tag), anchor, style);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    YamlNode node;
    YAML::anchor_t anchor = 0;
    bool in_brackets = false;
    std::optional<std::pair<std::string, TextPlace>> key;  // map: read, its value not yet
    std::set<std::string> merged;                          // map: keys that came in by <<
  };

  // yaml-cpp takes the rest of the file where a closing quote is missing, and says nothing.
  bool runs_over_lines(const YAML::Mark& mark) const {
    const std::string_view source = lines_[mark.line + 1];
    const auto column = static_cast<std::size_t>(mark.column);
    if (column >= source.size()) return false;
    return (source[column] == '"' || source[column] == '\'') &&
           !quote_closes(source.substr(column));
  }

  void check_size(const YAML::Mark& mark) const {
    if (size_.nodes > kMaxNodes) {
      fail_at(place(mark), current_path(),
              "more than " + std::to_string(kMaxNodes) + " values once aliases are expanded");
    }
    if (size_.text_bytes > kMaxTextBytes) {
      fail_at(place(mark), current_path(),
              "more than " + format_bytes(kMaxTextBytes) + " of text once aliases are expanded");
    }
  }

  YamlNode make(YamlNode::Kind kind, const YAML::Mark& mark, const std::string& tag) {
    if (!tag.empty() && tag != "?" && tag != "!") {
      fail_at(place(mark), current_path(), "tags (!) have no meaning here; remove the tag");
    }
    ++size_.nodes;
    check_size(mark);
    YamlNode node;
    node.kind = kind;
    node.place = place(mark);
    return node;
  }

  void open(YamlNode node, YAML::anchor_t anchor, YAML::EmitterStyle::value style) {
    if (open_.size() >= kMaxDepth) {
      fail_at(node.place, "",
              "nested deeper than " + std::to_string(kMaxDepth) +
                  " levels; no key lies that deep, check the brackets");
    }
    open_.push_back({std::move(node), anchor, style == YAML::EmitterStyle::Flow, {}, {}});
  }

  void close() {
    Open done = std::move(open_.back());
    open_.pop_back();
    add(std::move(done.node), done.anchor);
  }

  void add(YamlNode node, YAML::anchor_t anchor) {
    if (anchor != 0) anchors_[anchor] = node;
    if (open_.empty()) {
      // Only the first document counts; that there is a second one is reported by the caller.
      if (documents_ == 1) root_ = std::move(node);
      return;
    }
    Open& parent = open_.back();
    if (parent.node.kind == YamlNode::Kind::list) {
      parent.node.items.push_back(std::move(node));
    } else if (!parent.key) {
      add_key(parent, node);
    } else {
      const auto [key, where] = std::move(*parent.key);
      parent.key.reset();
      if (key == "<<") {
        merge(parent, node, where);
      } else {
        add_entry(parent, {key, where, std::move(node)});
      }
    }
  }

  void add_key(Open& parent, const YamlNode& node) const {
    if (node.kind == YamlNode::Kind::null) {
      fail_at(node.place, current_path(), "a key is missing before \":\"; keys are plain words");
    }
    if (node.kind != YamlNode::Kind::scalar) {
      fail_at(node.place, current_path(), "a list or map cannot be a key; keys are plain words");
    }
    const YamlEntry* first = parent.node.find(node.text);
    if (first != nullptr && !parent.merged.contains(node.text)) {
      fail_at(node.place, child_path(current_path(), node.text),
              "given twice, first on line " + std::to_string(first->place.line) +
                  "; keep one of the two");
    }
    parent.key = {node.text, node.place};
  }

  // A key written out wins over the same key merged in, whichever comes first.
  static void add_entry(Open& parent, YamlEntry entry) {
    if (YamlEntry* merged = parent.node.find(entry.key)) {
      parent.merged.erase(entry.key);
      *merged = std::move(entry);
    } else {
      parent.node.entries.push_back(std::move(entry));
    }
  }

  void merge(Open& parent, const YamlNode& from, const TextPlace& where) const {
    if (from.kind == YamlNode::Kind::list) {
      for (const YamlNode& item : from.items) merge(parent, item, where);
      return;
    }
    if (from.kind != YamlNode::Kind::map) {
      fail_at(where, current_path(), "\"<<\" merges a map, such as an alias of one (<<: *name)");
    }
    for (const YamlEntry& entry : from.entries) {
      if (parent.node.find(entry.key) != nullptr) continue;
      parent.node.entries.push_back(entry);
      parent.merged.insert(entry.key);
    }
  }

  Lines lines_;
  TextPlace start_;
  std::string path_;
  int documents_ = 0;
  TextPlace second_;
  YamlNode root_;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, YamlNode> anchors_;
  TreeSize size_;
};

// Whether plain text stays what it is inside brackets. Numbers and truth values are bare words too.
bool is_bare(const std::string& text) {
  const auto letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  if (text.empty() || text == "-") return false;
  if (!letter(text[0]) && std::string_view("+-._/").find(text[0]) == std::string_view::npos) {
    return false;
  }
  return std::ranges::all_of(text, [&](char c) {
    return letter(c) || std::string_view("+-._/").find(c) != std::string_view::npos;
  });
}

void check_bytes(const std::string& text, const TextPlace& start, const std::string& path,
                 const DocumentKind& kind) {
  const auto bad_utf8 = first_invalid_utf8(text);
  const std::size_t control = text.find_first_of(
      std::string_view("\0\1\2\3\4\5\6\7\10\13\14\16\17\20\21\22\23\24\25\26\27\30\31\32\33\34\35"
                       "\36\37\177",
                       30));
  const std::size_t at = std::min(bad_utf8.value_or(std::string::npos), control);
  if (at == std::string::npos) return;
  TextPlace place = start;
  if (start.line != 0) {
    for (std::size_t i = 0; i < at; ++i) {
      place.column = text[i] == '\n' ? 1 : place.column + 1;
      place.line += text[i] == '\n';
    }
  }
  fail_at(place, path,
          at == control ? "a control character; a " + std::string(kind.name) + " is plain text"
                        : "not UTF-8 text; save the file as UTF-8");
}

// yaml-cpp takes hundreds of bytes for each bracket before it tells of the first.
void check_brackets(const std::string& text, const TextPlace& start, const std::string& path) {
  const auto brackets = std::ranges::count_if(text, [](char c) { return c == '[' || c == '{'; });
  if (brackets > static_cast<std::ptrdiff_t>(kMaxNodes)) {
    fail_at(start, path, "more than " + std::to_string(kMaxNodes) + " brackets");
  }
}

YamlNode parse(const std::string& text, const TextPlace& start, const std::string& path,
               const DocumentKind& kind = {}) {
  check_bytes(text, start, path, kind);
  check_brackets(text, start, path);
  TreeBuilder builder(text, start, path);
  std::istringstream stream(text);
  try {
    YAML::Parser parser(stream);
    while (!builder.started_second() && parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& error) {
    builder.fail_syntax(error);
  }
  YamlNode root = builder.take_root();
  if (!root.place.source) root.place = start;
  const bool whole_file = start.line != 0;
  if (whole_file && root.kind == YamlNode::Kind::null) {
    fail_at(start, path,
            std::string(text.empty() ? "the file is empty" : "only comments and blank lines here") +
                "; a " + std::string(kind.name) + " needs " + std::string(kind.needs));
  }
  if (whole_file && root.kind != YamlNode::Kind::map) {
    fail_at(root.place, path,
            "expected sections such as " + std::string(kind.sections) + " at the top, got " +
                (root.kind == YamlNode::Kind::list ? "a list" : in_quotes(root.text)));
  }
  if (builder.started_second()) {
    fail_at(
        builder.second_start(), path,
        "a second YAML document starts here; put one " + std::string(kind.name) + " in each file");
  }
  return root;
}

}  // namespace

std::string TextPlace::text() const {
  if (line == 0) return *source;
  return *source + ":" + std::to_string(line) + ":" + std::to_string(column);
}

void fail_at(const TextPlace& place, std::string_view path, const std::string& message) {
  throw UserError(place.text() + ": " + (path.empty() ? "" : std::string(path) + ": ") + message);
}

YamlEntry* YamlNode::find(std::string_view key) {
  for (YamlEntry& entry : entries) {
    if (entry.key == key) return &entry;
  }
  return nullptr;
}

const YamlEntry* YamlNode::find(std::string_view key) const {
  return const_cast<YamlNode*>(this)->find(key);
}

std::string child_path(std::string_view path, std::string_view key) {
  return path.empty() ? std::string(key) : std::string(path) + "." + std::string(key);
}

std::string item_path(std::string_view path, std::size_t index) {
  return std::string(path) + "[" + std::to_string(index) + "]";
}

YamlNode parse_document(const std::string& text, const std::string& name,
                        const DocumentKind& kind) {
  return parse(text, {std::make_shared<const std::string>(name), 1, 1}, "", kind);
}

YamlNode parse_value(const std::string& text, const TextPlace& place, const std::string& path) {
  return parse(text, place, path);
}

std::string flow_text(const YamlNode& node) {
  std::vector<std::string> parts;
  switch (node.kind) {
    case YamlNode::Kind::null:
      return "null";
    case YamlNode::Kind::scalar:
      return node.quoted || !is_bare(node.text) ? in_quotes(node.text, std::string::npos)
                                                : node.text;
    case YamlNode::Kind::list:
      for (const YamlNode& item : node.items) parts.push_back(flow_text(item));
      return "[" + join(parts, ", ") + "]";
    case YamlNode::Kind::map:
      for (const YamlEntry& entry : node.entries) {
        const std::string key =
            is_bare(entry.key) ? entry.key : in_quotes(entry.key, std::string::npos);
        parts.push_back(key + ": " + flow_text(entry.value));
      }
      return "{" + join(parts, ", ") + "}";
  }
  return "";
}

}  // namespace mixflow
