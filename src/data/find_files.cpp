#include "data/find_files.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <set>

#include "config/load.h"
#include "data/locate.h"
#include "util/error.h"
#include "util/glob.h"
#include "util/shared_bytes.h"

namespace mixflow {

namespace {

namespace fs = std::filesystem;

// Formats that need not have a NUL byte at their beginning.
constexpr std::array<std::string_view, 10> kSignatures = {"\x89PNG",
                                                          "\xFF\xD8\xFF",
                                                          "GIF8",
                                                          "%PDF-",
                                                          "PK\x03\x04",
                                                          "\x1F\x8B",
                                                          "BZh",
                                                          "\xFD"
                                                          "7zXZ",
                                                          "\x28\xB5\x2F\xFD",
                                                          "\x7F"
                                                          "ELF"};

bool is_binary(const SharedBytes& bytes) {
  constexpr std::size_t kSeen = 1 << 16;
  const std::string_view begin(reinterpret_cast<const char*>(bytes.data()),
                               std::min(bytes.size(), kSeen));
  return begin.find('\0') != std::string_view::npos ||
         std::ranges::any_of(kSignatures, [&](auto mark) { return begin.starts_with(mark); });
}

bool is_hidden(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.starts_with('.') && name != "." && name != "..";
}

fs::path real_path(const fs::path& path) {
  std::error_code error;
  fs::path result = fs::canonical(path, error);
  if (error) throw UserError(path.string() + ": cannot be read: " + error.message());
  return result;
}

class Search {
 public:
  Search(const FileSearch& what, const Config& config)
      : what_(what), where_(origin(config, what.key) + ": "), config_(config) {
    if (what.taken == nullptr) return;
    for (const std::string& path : *what.taken) taken_.insert(real_path(path));
  }

  FoundFiles run() {
    for (const std::string& item : what_.list) {
      std::error_code error;
      if (fs::is_directory(item, error)) {
        const auto first = std::ssize(found_.paths);
        walk(item, real_path(item));
        finish(item, first);
      } else if (fs::exists(item, error)) {
        take_named(item);
      } else if (has_wildcards(item)) {
        match(item);
      } else {
        fail_missing(item, config_, what_.key);
      }
    }
    return std::move(found_);
  }

 private:
  struct Link {
    fs::path path, root;
  };

  void leave_out(const std::string& reason, const fs::path& path) {
    auto left = std::ranges::find(found_.left_out, reason, &SkippedFiles::reason);
    if (left == found_.left_out.end()) {
      left = found_.left_out.insert(left, {reason, 0, path.filename().string()});
    }
    ++left->count;
  }

  void take_named(const std::string& item) {
    const fs::path file = real_path(item);
    if (taken_.contains(file)) {
      throw UserError(where_ + item + ": is also a file of " + what_.taken_by +
                      ", but held-out data must be other data; remove it from one of them");
    }
    if (!seen_.insert(file).second) {
      throw UserError(where_ + item +
                      ": stands for a file that comes before it in the list; "
                      "remove one of the two");
    }
    found_.paths.push_back(item);
  }

  void take_found(const fs::path& path) {
    const fs::path file = real_path(path);
    std::error_code error;
    if (!fs::is_regular_file(file, error)) return leave_out("no regular file", path);
    if (!has_extension(path)) return leave_out("of another kind", path);
    if (taken_.contains(file)) return leave_out("of " + what_.taken_by, path);
    if (fs::file_size(file, error) == 0) return leave_out("empty", path);
    if (what_.extensions.empty() && is_binary(SharedBytes::map(path))) {
      return leave_out("binary", path);
    }
    found_any_ = true;
    if (seen_.insert(file).second) found_.paths.push_back(path.string());
  }

  bool has_extension(const fs::path& path) const {
    std::string extension = path.extension().string();
    std::ranges::transform(extension, extension.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return what_.extensions.empty() ||
           std::ranges::find(what_.extensions, extension) != what_.extensions.end();
  }

  void match(const std::string& pattern) {
    const auto first = std::ssize(found_.paths);
    for (const std::string& path : glob_paths(pattern)) {
      std::error_code error;
      if (fs::is_directory(path, error)) {
        walk(path, real_path(path));
      } else if (fs::exists(path, error)) {
        take_found(path);
      } else {
        leave_out("a broken link", path);
      }
    }
    finish(pattern, first);
  }

  // Everything below a directory. `root` is what links must stay inside of; they are followed once
  // everything else is known, so that a file goes by its own name.
  void walk(const fs::path& directory, const fs::path& root) {
    if (!walked_.insert(real_path(directory)).second) return;
    std::error_code error;
    std::vector<fs::directory_entry> entries;
    fs::directory_iterator it(directory, error), end;
    for (; !error && it != end; it.increment(error)) entries.push_back(*it);
    if (error) {
      throw UserError(where_ + directory.string() + ": cannot be listed: " + error.message());
    }
    std::ranges::sort(entries, [](const auto& a, const auto& b) { return a.path() < b.path(); });
    for (const fs::directory_entry& entry : entries) {
      std::error_code unknown;
      if (is_hidden(entry)) {
        leave_out("hidden", entry);
      } else if (entry.is_symlink(unknown)) {
        links_.push_back({entry, root});
      } else if (entry.is_directory(unknown)) {
        walk(entry, root);
      } else {
        take_found(entry);
      }
    }
  }

  void follow(const Link& link) {
    std::error_code error;
    const fs::path target = fs::canonical(link.path, error);
    if (error) return leave_out("a broken link", link.path);
    const auto [end, ignored] = std::ranges::mismatch(link.root, target);
    if (end != link.root.end()) return leave_out("a link out of its directory", link.path);
    fs::is_directory(target, error) ? walk(link.path, link.root) : take_found(link.path);
  }

  // Once all of an item's files are found: `first` is where they begin.
  void finish(const std::string& item, std::ptrdiff_t first) {
    while (!links_.empty()) {  // a followed directory may have further ones
      std::vector<Link> links;
      std::swap(links, links_);
      std::ranges::sort(links, {}, &Link::path);
      for (const Link& link : links) follow(link);
    }
    std::sort(found_.paths.begin() + first, found_.paths.end(),
              [](const fs::path& a, const fs::path& b) { return a < b; });
    if (!found_any_) fail_none(item);
    found_any_ = false;
  }

  [[noreturn]] void fail_none(const std::string& item) const {
    const std::string left_out = to_string(found_.left_out);
    throw UserError(
        where_ + item + ": " +
        (fs::is_directory(item) ? "a directory without files" : "no file fits this pattern") +
        (left_out.empty() ? "" : " to read; left out: " + left_out));
  }

  const FileSearch& what_;
  const std::string where_;
  const Config& config_;
  FoundFiles found_;
  std::vector<Link> links_;
  bool found_any_ = false;                    // of the item at hand
  std::set<fs::path> taken_, seen_, walked_;  // canonical
};

}  // namespace

std::string to_string(const std::vector<SkippedFiles>& left_out) {
  std::string text;
  for (const SkippedFiles& left : left_out) {
    text += (text.empty() ? "" : ", ") + std::to_string(left.count) + " " + left.reason + " (" +
            left.example + (left.count > 1 ? ", .." : "") + ")";
  }
  return text;
}

FoundFiles find_files(const FileSearch& search, const Config& config) {
  return Search(search, config).run();
}

}  // namespace mixflow
