// The reference of a product is read by blocks and shared by threads: against three plain loops.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/op_list.h"
#include "util/rng.h"

namespace mixflow {
namespace {

TEST_CASE("A product beyond one block is that of plain loops, with the same bits on any threads") {
  constexpr std::int64_t kBatch = 2, kM = 130, kN = 131, kK = 67;  // more than a million terms
  Rng rng(1, Purpose::check, 40);
  for (const bool trans_a : {false, true}) {
    for (const bool trans_b : {false, true}) {
      Attrs attrs;
      attrs.trans_a = trans_a;
      attrs.trans_b = trans_b;
      const std::vector<Type> types = {
          {DType::f32, trans_a ? Shape{kBatch, kK, kM} : Shape{kBatch, kM, kK}},
          {DType::f32, trans_b ? Shape{kBatch, kN, kK} : Shape{kBatch, kK, kN}}};
      std::vector<double> a(kBatch * kM * kK), b(kBatch * kK * kN);
      for (double& x : a) x = rng.uniform(-1, 1);
      for (double& x : b) x = rng.uniform(-1, 1);
      std::vector<double> expected;
      for (std::int64_t batch = 0; batch < kBatch; ++batch) {
        const double* left = a.data() + batch * kM * kK;
        const double* right = b.data() + batch * kK * kN;
        for (std::int64_t i = 0; i < kM; ++i) {
          for (std::int64_t j = 0; j < kN; ++j) {
            double sum = 0;
            for (std::int64_t k = 0; k < kK; ++k)
              sum += left[trans_a ? k * kM + i : i * kK + k] *
                     right[trans_b ? j * kK + k : k * kN + j];
            expected.push_back(sum);
          }
        }
      }
      const Type out_type = op::k_dot.infer(types, attrs);
      std::vector<double> alone;
      for (const int threads : {1, 3}) {
        const double* const in[] = {a.data(), b.data()};
        std::vector<double> found(expected.size(), -1.0);
        op::k_dot.ref({.in_types = types,
                       .in = in,
                       .out_type = out_type,
                       .out = found.data(),
                       .attrs = attrs,
                       .threads = threads});
        if (threads == 1) alone = found;
        CHECK(found == alone);
        double error = 0;
        for (std::size_t i = 0; i < found.size(); ++i)
          error = std::max(error, std::abs(found[i] - expected[i]));
        CHECK(error < 1e-14 * kK);
      }
    }
  }
}

}  // namespace
}  // namespace mixflow
