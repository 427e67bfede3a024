#include "report/gnuplot.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "report/escape.h"
#include "report/table.h"
#include "util/error.h"
#include "util/file.h"
#include "util/text.h"

namespace mixflow {
namespace {

namespace fs = std::filesystem;

// In viewBox units, which a phone shows at nearly one pixel each.
constexpr int kWidth = 420, kHeight = 280;
constexpr std::size_t kLongestTick = 16;

// Colours stand for CSS variables: series n is (1, 0, n), from 1.
constexpr const char* kInk = "rgb 0x000100";
constexpr const char* kGrid = "rgb 0x000200";
std::string series_color(int color) {
  char text[24];
  std::snprintf(text, sizeof text, "rgb 0x0100%02x", color + 1);
  return text;
}

// A string that gnuplot takes as it is.
std::string gnuplot_string(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') out += '\'';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + "'";
}

// Labels of ticks are formats to gnuplot.
std::string tick_label(const std::string& text) {
  std::string label;
  std::size_t characters = 0;
  for (const char c : text) {
    const bool starts = (c & 0xC0) != 0x80;
    if (starts && ++characters > kLongestTick) return label + "..";
    label += c == '%' ? "%%" : std::string(1, c);
  }
  return label;
}

std::string number(double value) { return std::isfinite(value) ? exact(value) : "NaN"; }

std::string axis_commands(const char* name, const PlotAxis& axis) {
  const std::string axis_name(name);
  std::string text =
      "set " + axis_name + "label " + gnuplot_string(axis.label) + " tc " + kInk + "\n";
  text += (axis.log ? "set logscale " : "unset logscale ") + axis_name + "\n";
  const auto end = [](double value) { return std::isnan(value) ? "*" : exact(value); };
  text += "set " + axis_name + "range [" + end(axis.low) + ":" + end(axis.high) + "]\n";
  text += "set format " + axis_name + " '%g'\n";
  if (axis.ticks.empty()) return text + "set " + axis_name + "tics autofreq norotate\n";
  std::size_t longest = 0, all = 0;
  text += "set " + axis_name + "tics (";
  for (const auto& [at, label] : axis.ticks) {
    if (all > 0) text += ", ";
    const std::string shown = tick_label(label);
    text += gnuplot_string(shown) + " " + exact(at);
    longest = std::max(longest, shown.size());
    all += shown.size() + 3;
  }
  const bool crowded = axis_name == "x" && longest > 3 && all > 44;
  return text + ")" + (crowded ? " rotate by -35\n" : " norotate\n");
}

std::string data_block(const std::string& name, const PlotLine& line) {
  std::string text = "$" + name + " << EOD\n";
  for (std::size_t i = 0; i < line.x.size(); ++i) {
    if (std::isnan(line.y[i])) {
      text += "\n";
      continue;
    }
    text += number(line.x[i]) + " " + number(line.y[i]);
    if (!line.low.empty()) text += " " + number(line.low[i]) + " " + number(line.high[i]);
    text += "\n";
  }
  return text + "EOD\n";
}

std::string line_commands(const Plot& plot, std::size_t i, const std::string& data) {
  const PlotLine& line = plot.lines[i];
  const std::string color = " lc " + series_color(color_of(plot, i));
  const std::string data_and = "$" + data + " using ";
  if (plot.kind == PlotKind::areas) {
    return data_and + "1:2 with filledcurves y1=0 fs transparent solid 0.75 noborder" + color;
  }
  std::string text;
  if (!line.low.empty()) {
    text = data_and + "1:3:4 with filledcurves fs transparent solid 0.12 noborder" + color + ", ";
  }
  switch (plot.kind) {
    case PlotKind::lines:
      return text + data_and + "1:2 with lines lw 1.6" + color;
    case PlotKind::points:
      return text + data_and + "1:2 with linespoints pt 7 ps 0.5 lw 1.6" + color;
    default: {
      const std::string size = line.x.size() > 60 ? "0.35" : "0.8";
      return text + data_and + "1:2 with points pt 7 ps " + size + "" + color;
    }
  }
}

std::string plot_commands(const Plot& plot, const std::string& name) {
  std::string text = "set terminal svg size " + std::to_string(kWidth) + "," +
                     std::to_string(kHeight) +
                     " dynamic noenhanced font 'sans-serif,13' rounded name '" + name +
                     "'\nset output '" + name + ".svg'\n";
  text += axis_commands("x", plot.x) + axis_commands("y", plot.y);
  text += "unset arrow\n";
  if (plot.reference) {
    const std::string level = exact(*plot.reference);
    text += "set arrow from graph 0, first " + level + " to graph 1, first " + level +
            " nohead lw 1 dt (3,3) lc " + kInk + "\n";
  }
  std::string drawn;
  for (std::size_t i = 0; i < plot.lines.size(); ++i) {
    const std::string data = name + "_" + std::to_string(i);
    text += data_block(data, plot.lines[i]);
    drawn += (i > 0 ? ", " : "") + line_commands(plot, i, data);
  }
  return text + "plot " + drawn + "\nset output\n";
}

// Deleted with all that is in it.
class WorkDirectory {
 public:
  WorkDirectory() {
    std::string name = (fs::temp_directory_path() / "mixflow-report-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) {
      throw RunError(name + ": cannot be created: " + std::strerror(errno));
    }
    path_ = name;
  }
  WorkDirectory(const WorkDirectory&) = delete;
  WorkDirectory& operator=(const WorkDirectory&) = delete;
  ~WorkDirectory() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  fs::path operator/(const std::string& name) const { return path_ / name; }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// What gnuplot has printed, its lines and empty lines as words of one line.
std::string messages(const WorkDirectory& directory) {
  std::string text;
  const std::string printed = read_text(directory / "messages");
  for (const std::string_view line : split(printed, '\n')) {
    const std::size_t begin = line.find_first_not_of(" \t\r");
    if (begin == line.npos) continue;
    text += (text.empty() ? "" : " ") + std::string(line.substr(begin));
  }
  return text;
}

// False where there is no such program.
bool run_gnuplot(const WorkDirectory& directory) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addchdir_np(&actions, directory.path().c_str());
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  for (const int fd : {STDOUT_FILENO, STDERR_FILENO}) {
    posix_spawn_file_actions_addopen(&actions, fd, "messages", O_WRONLY | O_CREAT | O_APPEND, 0600);
  }
  // -d: without the user's own settings.
  std::string words[] = {"gnuplot", "-d", "script"};
  char* argv[] = {words[0].data(), words[1].data(), words[2].data(), nullptr};
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, "gnuplot", &actions, nullptr, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error == ENOENT) return false;
  int status = 0;
  if (error != 0) throw RunError(std::string("gnuplot cannot be started: ") + std::strerror(error));
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) {
    throw RunError("gnuplot was ended by signal " + std::to_string(WTERMSIG(status)));
  }
  if (WEXITSTATUS(status) == 127) return false;
  if (WEXITSTATUS(status) == 0) return true;
  throw RunError("gnuplot failed: " + messages(directory));
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
}

// Removes what stands from each `begin` to the next `end`.
void remove_between(std::string& text, std::string_view begin, std::string_view end) {
  for (std::size_t at = 0; (at = text.find(begin, at)) != std::string::npos;) {
    const std::size_t stop = text.find(end, at);
    if (stop == std::string::npos) return;
    text.erase(at, stop + end.size() - at);
  }
}

std::string variable(int red, int green, int blue) {
  if (red == 1 && green == 0) return "var(--series-" + std::to_string(blue) + ")";
  return green == 1 ? "var(--ink)" : "var(--grid)";
}

// rgb(  1,   0,   3) -> var(--series-3); other colours stay.
std::string with_variables(const std::string& svg) {
  std::string out;
  std::size_t done = 0;
  for (std::size_t at = 0; (at = svg.find("rgb(", at)) != std::string::npos; ++at) {
    int red = 0, green = 0, blue = 0, length = 0;
    std::sscanf(svg.c_str() + at, "rgb(%d,%d,%d)%n", &red, &green, &blue, &length);
    const bool ours =
        length > 0 && red + green >= 1 && red <= 1 && green <= 2 && blue <= kPlotColors;
    if (!ours) continue;
    out.append(svg, done, at - done);
    out += variable(red, green, blue);
    done = at + static_cast<std::size_t>(length);
  }
  return out.append(svg, done);
}

// Groups that gnuplot opened and closed without drawing anything.
void remove_empty_groups(std::string& svg) {
  constexpr std::string_view kClose = ">\n</g>\n";
  for (std::size_t at = 0; (at = svg.find(kClose, at)) != std::string::npos;) {
    const std::size_t begin = svg.rfind('<', at);
    if (svg.compare(begin, 3, "<g ") != 0) {
      ++at;
      continue;
    }
    svg.erase(begin, at + kClose.size() - begin);
    at = begin;
  }
}

}  // namespace

std::string gnuplot_script(const std::vector<Plot>& plots) {
  std::string text = std::string("set encoding utf8\nset border 3 lw 1 lc ") + kInk +
                     "\nset tics nomirror scale 0.5 textcolor " + kInk + "\nset grid lw 1 lc " +
                     kGrid + "\nunset key\n";
  for (std::size_t i = 0; i < plots.size(); ++i) {
    text += plot_commands(plots[i], "plot" + std::to_string(i));
  }
  return text;
}

std::string themed_svg(const std::string& svg, const std::string& name, const std::string& title) {
  const std::size_t begin = svg.find("</desc>");
  const std::size_t end = svg.rfind("</svg>");
  MIXFLOW_CHECK(begin != std::string::npos && end != std::string::npos, "gnuplot wrote no SVG");
  std::string body = svg.substr(begin + 7, end - begin - 7);
  remove_between(body, "<filter", "</filter>");
  remove_between(body, "<title>", "</title>");  // names of gnuplot's own
  replace_all(body, "gpPt", name + "-point");
  replace_all(body, "gpDot", name + "-dot");
  replace_all(body, "id=\"gnuplot_canvas\"", "");
  replace_all(body, "xlink:href", "href");
  replace_all(body, "\"black\"", "\"currentColor\"");
  replace_all(body, "<text> ", "<text>");
  remove_empty_groups(body);
  body = with_variables(body);
  return "<svg viewBox=\"0 0 " + std::to_string(kWidth) + " " + std::to_string(kHeight) +
         "\" role=\"img\" aria-label=\"" + html_escaped(title) + "\">" + body + "</svg>\n";
}

std::optional<std::vector<std::string>> draw(const std::vector<Plot>& plots) {
  std::vector<std::string> drawn;
  if (plots.empty()) return drawn;
  const WorkDirectory directory;
  write_atomically(directory / "script", gnuplot_script(plots));
  if (!run_gnuplot(directory)) return std::nullopt;
  for (std::size_t i = 0; i < plots.size(); ++i) {
    const std::string name = "plot" + std::to_string(i);
    drawn.push_back(themed_svg(read_text(directory / (name + ".svg")), name, plots[i].title));
  }
  return drawn;
}

}  // namespace mixflow
