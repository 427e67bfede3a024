// The claim of an attempt.
#include "sweep/claim.h"

#include "fuzz.h"

MIXFLOW_FUZZ_TARGET(data, size) {
  mixflow::scratch_file("p.1", data, size);
  const mixflow::ClaimState state = mixflow::inspect_claim(mixflow::scratch(), "p", 1);
  mixflow::must(state.life != mixflow::ClaimState::Life::none);
  return 0;
}
