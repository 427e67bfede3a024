#pragma once

namespace mixflow {

// Whether the calling thread turns denormal results into zero.
inline bool flushes_denormals() {
  volatile float smallest_normal = 1.17549435e-38F;
  return smallest_normal * 0.5F == 0.0F;
}

}  // namespace mixflow
