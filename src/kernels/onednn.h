// The one door to oneDNN: no other file includes its headers, so its version (2.6 or 3.x) matters
// nowhere else.
#pragma once

#include <cstdint>
#include <string>

namespace mixflow {

// "2.6.3"
std::string onednn_version();

// C = op(A)·op(B) + beta·C, all row-major; op(A) is m×k, op(B) k×n. Row strides lda, ldb, ldc are
// those of the stored matrices (A is k×m in memory if trans_a). Runs on the calling thread. oneDNN
// packs into buffers of its own while it runs; nothing stays allocated. False if it failed, for
// want of memory.
[[nodiscard]] bool sgemm(bool trans_a, bool trans_b, std::int64_t m, std::int64_t n, std::int64_t k,
                         const float* a, std::int64_t lda, const float* b, std::int64_t ldb,
                         float beta, float* c, std::int64_t ldc);

}  // namespace mixflow
