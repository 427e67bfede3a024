#include "train/signals.h"

#include <csignal>

namespace mixflow {
namespace {

volatile std::sig_atomic_t stop = 0;
struct sigaction old_int, old_term;

void request_stop(int signal) {
  if (stop) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
  stop = 1;
}

}  // namespace

SignalGuard::SignalGuard() {
  stop = 0;
  struct sigaction action {};
  action.sa_handler = request_stop;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, &old_int);
  sigaction(SIGTERM, &action, &old_term);
}

SignalGuard::~SignalGuard() {
  sigaction(SIGINT, &old_int, nullptr);
  sigaction(SIGTERM, &old_term, nullptr);
}

bool SignalGuard::stop_requested() { return stop != 0; }

}  // namespace mixflow
