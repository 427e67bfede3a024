#include "sweep/child.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "train/progress.h"
#include "util/error.h"
#include "util/file.h"
#include "util/text.h"

namespace mixflow {
namespace {

constexpr const char* kProgram = "/proc/self/exe";

// Sanitizers reserve terabytes of address space, which count as data.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kLimitsMemory = false;
#else
constexpr bool kLimitsMemory = true;
#endif

void redirect(int from, const char* path, int flags) {
  const int fd = open(path, flags, 0644);
  if (fd >= 0) dup2(fd, from);
  if (fd > STDERR_FILENO) close(fd);
}

// A handler of this program would swallow a signal that comes before exec.
void take_signals() {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction action {};
    sigaction(number, nullptr, &action);
    if (action.sa_handler != SIG_IGN) {
      action.sa_handler = SIG_DFL;
      sigaction(number, &action, nullptr);
    }
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

// In the child, after fork, with all signals blocked: system calls only.
void become(const ChildOptions& options, pid_t parent, const cpu_set_t& cpus, char* const* argv) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);  // it died before the line above
  redirect(STDIN_FILENO, "/dev/null", O_RDONLY);
  redirect(STDOUT_FILENO, "/dev/null", O_WRONLY);
  redirect(STDERR_FILENO, options.error_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC);
  if (options.inherited >= 0) fcntl(options.inherited, F_SETFD, 0);
  if (!options.cpus.empty()) sched_setaffinity(0, sizeof cpus, &cpus);
  if (options.memory_limit > 0 && kLimitsMemory) {
    const auto bytes = static_cast<rlim_t>(options.memory_limit);
    const rlimit limit{bytes, bytes};
    setrlimit(RLIMIT_DATA, &limit);
  }
  take_signals();
  execv(kProgram, argv);
  _exit(127);
}

// The last line that says something, without the program's name.
std::string last_line(const std::string& printed) {
  std::string last;
  for (const std::string_view line : split(printed, '\n')) {
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) last = line;
  }
  for (const std::string_view prefix : {"mixflow: ", "run failed: "}) {
    if (last.starts_with(prefix)) last = last.substr(prefix.size());
  }
  constexpr std::size_t kMost = 1000;
  return last.size() > kMost ? last.substr(0, kMost) + ".." : last;
}

bool says(const std::string& text, std::string_view words) {
  return text.find(words) != std::string::npos;
}

std::string memory_text(const ChildExit& exit, std::int64_t limit) {
  return " (it used " + format_bytes(exit.peak_rss_bytes) +
         (limit > 0 ? ", its limit is " + format_bytes(limit) : "") + ")";
}

}  // namespace

Child::Child(const ChildOptions& options) : start_(Clock::now()) {
  std::vector<std::string> words{"mixflow"};
  words.insert(words.end(), options.args.begin(), options.args.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  for (const int cpu : options.cpus) CPU_SET(static_cast<std::size_t>(cpu), &cpus);
  const pid_t parent = getpid();
  sigset_t all, before;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, &before);
  pid_ = fork();
  const int error = errno;
  if (pid_ == 0) become(options, parent, cpus, argv.data());
  sigprocmask(SIG_SETMASK, &before, nullptr);
  if (pid_ < 0) throw RunError(std::string("a process cannot be started: ") + std::strerror(error));
}

Child::~Child() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

Child::Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)), start_(other.start_) {}

Child& Child::operator=(Child&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(start_, other.start_);
  return *this;
}

std::optional<ChildExit> Child::poll() {
  ChildExit exit;
  rusage usage{};
  if (pid_ <= 0) return std::nullopt;
  const pid_t ended = wait4(pid_, &exit.status, WNOHANG, &usage);
  if (ended < 0 && errno == ECHILD) {
    throw RunError("process " + std::to_string(std::exchange(pid_, -1)) +
                   " has ended, and the system does not tell how");
  }
  if (ended != pid_) return std::nullopt;
  pid_ = -1;
  exit.peak_rss_bytes = std::int64_t{usage.ru_maxrss} * 1024;
  exit.seconds = seconds_since(start_);
  return exit;
}

void Child::signal(int number) const {
  if (pid_ > 0) kill(pid_, number);
}

Failure failure_of(const ChildExit& exit, const std::optional<TrainOutcome>& outcome,
                   const std::string& printed, std::int64_t limit) {
  const std::string last = last_line(printed);
  if (WIFSIGNALED(exit.status)) {
    const int number = WTERMSIG(exit.status);
    const std::string by =
        "killed by signal " + std::to_string(number) + " (" + strsignal(number) + ")";
    // Nobody else kills a run without a word, as a rule.
    if (number == SIGKILL) {
      return {"memory",
              by + ", as the system does when memory runs out" + memory_text(exit, limit)};
    }
    return {"crash", last.empty() ? by : by + "; it said: " + last};
  }
  const int code = WEXITSTATUS(exit.status);
  if (outcome && outcome->code == "memory") {
    return {"memory", outcome->message + memory_text(exit, limit)};
  }
  if (outcome && outcome->code == "interrupted") {
    return {"interrupted", "interrupted by a signal that the sweep did not send"};
  }
  if (outcome && outcome->code != "done") return {outcome->code, outcome->message};
  if (code == 127) return {"error", "the process could not be started"};
  if (code == 2) return {"config", last};
  if (code == 70) return {"bug", last};
  // The threads' library ends a process that gets no memory for a thread's stack, in its own words.
  if (says(printed, "Thread creation failed")) return {"memory", last + memory_text(exit, limit)};
  return {"error", last.empty() ? "exit code " + std::to_string(code) : last};
}

std::optional<TrainOutcome> outcome_in(const std::filesystem::path& file, pid_t pid) {
  try {
    TrainOutcome outcome = parse_outcome(read_text(file));
    if (outcome.pid == pid) return outcome;
  } catch (const std::exception&) {  // none, or not whole: the exit code has to do
  }
  return std::nullopt;
}

}  // namespace mixflow
