#include "train/signals.h"

#include <csignal>
#include <cstddef>

namespace mixflow {
namespace {

volatile std::sig_atomic_t stop = 0;
struct sigaction old_int, old_term, old_hup;
stack_t old_stack;

// The handler has a stack of its own: some generated code of oneDNN's sgemm (2.6, AVX-512) points
// the stack register into its workspace on the heap, and a signal's frame, 11 KiB where there is
// AMX, would be written over what lies below. A process's signals go to the main thread, so one
// stack is enough.
alignas(64) char handler_stack[std::size_t{64} << 10];

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
  stack_t stack{};
  stack.ss_sp = handler_stack;
  stack.ss_size = sizeof handler_stack;
  sigaltstack(&stack, &old_stack);
  struct sigaction action {};
  action.sa_handler = request_stop;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  sigaction(SIGINT, &action, &old_int);
  sigaction(SIGTERM, &action, &old_term);
  sigaction(SIGHUP, nullptr, &old_hup);
  if (old_hup.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, nullptr);
}

SignalGuard::~SignalGuard() {
  sigaction(SIGINT, &old_int, nullptr);
  sigaction(SIGTERM, &old_term, nullptr);
  sigaction(SIGHUP, &old_hup, nullptr);
  sigaltstack(&old_stack, nullptr);
}

bool SignalGuard::stop_requested() { return stop != 0; }

}  // namespace mixflow
