#include "train/tensorboard.h"

#include <bit>
#include <vector>

namespace mixflow {

static_assert(std::endian::native == std::endian::little, "numbers are written as they are");

namespace {

template <class T>
void put_raw(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// Seven bits a byte, the lowest first; the top bit says that more follow.
void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

enum class Wire : std::uint32_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

void put_key(std::string& out, std::uint32_t field, Wire wire) {
  put_varint(out, field << 3 | static_cast<std::uint32_t>(wire));
}

// Strings and messages alike.
void put_bytes(std::string& out, std::uint32_t field, std::string_view bytes) {
  put_key(out, field, Wire::bytes);
  put_varint(out, bytes.size());
  out += bytes;
}

std::string value_message(const Scalar& scalar) {
  std::string value;
  put_bytes(value, 1, scalar.tag);
  put_key(value, 2, Wire::fixed32);
  put_raw(value, static_cast<float>(scalar.value));
  return value;
}

std::string record(double unix_s, std::int64_t step, std::uint32_t field, std::string_view what) {
  std::string data;
  put_key(data, 1, Wire::fixed64);
  put_raw(data, unix_s);
  put_key(data, 2, Wire::varint);
  put_varint(data, static_cast<std::uint64_t>(step));
  put_bytes(data, field, what);

  std::string out;
  put_raw(out, static_cast<std::uint64_t>(data.size()));
  put_raw(out, masked_crc32c(out));
  out += data;
  put_raw(out, masked_crc32c(data));
  return out;
}

}  // namespace

std::string version_event(double unix_s) { return record(unix_s, 0, 3, "brain.Event:2"); }

std::string scalar_event(double unix_s, std::int64_t step, std::span<const Scalar> scalars) {
  std::string summary;
  for (const Scalar& scalar : scalars) put_bytes(summary, 1, value_message(scalar));
  return record(unix_s, step, 5, summary);
}

std::string to_event(const MetricsLine& line, double unix_s) {
  const Scalar scalars[] = {{"meta_loss", line.meta_loss},
                            {"inner_loss/first", line.inner_loss_first},
                            {"inner_loss/last", line.inner_loss_last},
                            {"meta_grad_norm", line.meta_grad_norm},
                            {"meta_lr", line.meta_lr},
                            {"step_s", line.step_s}};
  return scalar_event(unix_s, line.step, scalars);
}

std::string to_event(const EvalResult& result, double unix_s) {
  const std::string split(name_of(result.split));
  std::vector<Scalar> scalars;
  for (const EvalPoint& p : result.points) {
    const std::string after = "_after_" + std::to_string(p.inner_steps);
    scalars.push_back({split + "/loss" + after, p.loss});
    if (result.has_accuracy) scalars.push_back({split + "/accuracy" + after, p.accuracy});
  }
  if (result.state_loss) scalars.push_back({"eval/state_loss", *result.state_loss});
  return scalar_event(unix_s, result.step, scalars);
}

// Bit by bit: microseconds a record, where a table would save nothing that one could notice.
std::uint32_t crc32c(std::string_view bytes) {
  constexpr std::uint32_t kPolynomial = 0x82f63b78;  // 0x1edc6f41, lowest bit first
  std::uint32_t crc = 0xffffffff;
  for (const char byte : bytes) {
    crc ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? kPolynomial : 0);
  }
  return ~crc;
}

std::uint32_t masked_crc32c(std::string_view bytes) {
  return std::rotr(crc32c(bytes), 15) + 0xa282ead8;
}

}  // namespace mixflow
