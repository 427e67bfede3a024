// SIGINT, SIGTERM and SIGHUP (unless it is ignored, as nohup has it) ask the run to stop after the
// current meta-step; a second one ends the process at once.
#pragma once

namespace mixflow {

class SignalGuard {
 public:
  SignalGuard();
  ~SignalGuard();
  SignalGuard(const SignalGuard&) = delete;
  SignalGuard& operator=(const SignalGuard&) = delete;

  static bool stop_requested();
};

}  // namespace mixflow
