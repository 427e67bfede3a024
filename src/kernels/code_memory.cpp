#include "kernels/code_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>

namespace mixflow {
namespace {

// Both ways of asking: asmjit maps memory that may be written and executed, oneDNN lets memory that
// it has written be executed.
bool ask() {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const auto map = [&](int protection) {
    return mmap(nullptr, page, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  };
  void* code = map(PROT_READ | PROT_WRITE | PROT_EXEC);
  if (code == MAP_FAILED) return false;
  munmap(code, page);
  code = map(PROT_READ | PROT_WRITE);
  if (code == MAP_FAILED) return false;
  *static_cast<volatile std::byte*>(code) = std::byte{0};
  const bool given = mprotect(code, page, PROT_READ | PROT_EXEC) == 0;
  munmap(code, page);
  return given;
}

}  // namespace

bool code_memory_is_given() {
  static const bool kGiven = ask();
  return kGiven;
}

}  // namespace mixflow
