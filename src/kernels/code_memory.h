// Machine code that is made while the program runs: ours (run_code.h) and oneDNN's.
#pragma once

namespace mixflow {

// Whether the system gives memory for code. Hardened ones refuse it (SELinux without execmem,
// systemd's MemoryDenyWriteExecute, seccomp). Asked once in a process, so that all kernels are made
// alike: where it is refused by steps alone, and by our own products. Their sums have another
// order, so results differ in their last bits.
bool code_memory_is_given();

}  // namespace mixflow
