#include "kernels/repeat.h"

#include <utility>

namespace mixflow {
namespace {

class Repeat final : public Kernel {
 public:
  Repeat(std::unique_ptr<Kernel> one, std::int64_t n, std::array<std::int64_t, 2> in_bytes,
         std::int64_t out_bytes)
      : Kernel(one->scratch_bytes),
        one_(std::move(one)),
        n_(n),
        in_bytes_(in_bytes),
        out_bytes_(out_bytes) {}

  void run(const std::byte* const* in, std::byte* const* out, std::byte* scratch) const override {
    for (std::int64_t i = 0; i < n_; ++i) {
      const std::byte* const own_in[] = {in[0] + i * in_bytes_[0], in[1] + i * in_bytes_[1]};
      std::byte* const own_out[] = {out[0] + i * out_bytes_};
      one_->run(own_in, own_out, scratch);
    }
  }

 private:
  std::unique_ptr<Kernel> one_;
  std::int64_t n_;
  std::array<std::int64_t, 2> in_bytes_;
  std::int64_t out_bytes_;
};

}  // namespace

std::unique_ptr<Kernel> make_repeat(std::unique_ptr<Kernel> one, std::int64_t n,
                                    std::array<std::int64_t, 2> in_bytes, std::int64_t out_bytes) {
  if (n == 1) return one;
  return std::make_unique<Repeat>(std::move(one), n, in_bytes, out_bytes);
}

}  // namespace mixflow
