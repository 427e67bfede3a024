#pragma once

#include <cstddef>
#include <cstdint>

namespace mixflow {

// A position, signed as sizes and ids are here, as the standard containers index.
constexpr std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

}  // namespace mixflow
