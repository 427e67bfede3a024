#include "kernels/repeat.h"

#include <doctest/doctest.h>

#include <cstring>

namespace mixflow {
namespace {

// out[0..2) = a[0..2) + b[0]
class AddScalar final : public Kernel {
 public:
  AddScalar() : Kernel(64) {}
  void run(const std::byte* const* in, std::byte* const* out, std::byte*) const override {
    float a[2], b;
    std::memcpy(a, in[0], sizeof a);
    std::memcpy(&b, in[1], sizeof b);
    const float sum[2] = {a[0] + b, a[1] + b};
    std::memcpy(out[0], sum, sizeof sum);
  }
};

TEST_CASE("A repeated kernel steps through the instances of each operand") {
  const auto kernel = make_repeat(std::make_unique<AddScalar>(), 3, {8, 4}, 8);
  CHECK(kernel->scratch_bytes == 64);
  const float a[] = {1, 2, 3, 4, 5, 6};
  const float b[] = {10, 20, 30};
  float y[7] = {0, 0, 0, 0, 0, 0, -1};
  const std::byte* const in[] = {reinterpret_cast<const std::byte*>(a),
                                 reinterpret_cast<const std::byte*>(b)};
  std::byte* const out[] = {reinterpret_cast<std::byte*>(y)};
  kernel->run(in, out, nullptr);
  const float expected[] = {11, 12, 23, 24, 35, 36, -1};
  for (int i = 0; i < 7; ++i) CHECK(y[i] == expected[i]);
}

TEST_CASE("One instance is the kernel itself") {
  auto one = std::make_unique<AddScalar>();
  const Kernel* address = one.get();
  CHECK(make_repeat(std::move(one), 1, {8, 4}, 8).get() == address);
}

}  // namespace
}  // namespace mixflow
