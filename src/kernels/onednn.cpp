#include "kernels/onednn.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

namespace mixflow {

std::string onednn_version() {
  const dnnl_version_t* version = dnnl_version();
  return std::to_string(version->major) + "." + std::to_string(version->minor) + "." +
         std::to_string(version->patch);
}

// dnnl_sgemm rather than a matmul primitive: any row stride, transposition and beta without
// building, caching or packing anything, and as fast as the best f32 primitive (it is the same
// generated kernel).
bool sgemm(bool trans_a, bool trans_b, std::int64_t m, std::int64_t n, std::int64_t k,
           const float* a, std::int64_t lda, const float* b, std::int64_t ldb, float beta, float* c,
           std::int64_t ldc) {
  // The library takes as many threads as OpenMP would: the setting is this thread's own.
  if (omp_get_max_threads() != 1) omp_set_num_threads(1);
  const dnnl_status_t status = dnnl_sgemm(trans_a ? 'T' : 'N', trans_b ? 'T' : 'N', m, n, k, 1.0F,
                                          a, lda, b, ldb, beta, c, ldc);
  return status == dnnl_success;
}

}  // namespace mixflow
