// A safetensors file. What was read is written and reads back as the same.
#include "data/safetensors.h"

#include "fuzz.h"

MIXFLOW_FUZZ_TARGET(data, size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  mixflow::TensorFile file;
  if (!mixflow::takes([&] { file = mixflow::parse_safetensors(bytes, "a.safetensors"); })) return 0;
  for (const mixflow::NamedTensor& tensor : file.tensors) {
    for (const mixflow::DType dtype :
         {mixflow::DType::f32, mixflow::DType::f64, mixflow::DType::i32}) {
      std::vector<std::byte> out(static_cast<std::size_t>(mixflow::num_elements(tensor.shape) *
                                                          mixflow::dtype_bytes(dtype)));
      mixflow::takes([&] { mixflow::copy_tensor(tensor, dtype, out, "a.safetensors"); });
    }
    if (tensor.type == mixflow::StoredType::other) return 0;  // can be read, not written
  }
  const mixflow::TensorFile again =
      mixflow::parse_safetensors(mixflow::format_safetensors(file), "b.safetensors");
  mixflow::must(again.tensors.size() == file.tensors.size());
  return 0;
}
