// TensorBoard's event files, so that `tensorboard --logdir` shows runs: the scalars of a run,
// encoded by hand, as six fields are no reason for a dependency.
//
// A file is a sequence of records, all numbers little-endian (TensorFlow's record_writer.h):
//
//     u64 length | u32 masked CRC-32C of length | data | u32 masked CRC-32C of data
//
// data is one Event in protobuf's wire format (event.proto, summary.proto), with the fields
//
//     Event    1 wall_time: double   2 step: int64   3 file_version: string   5 summary: Summary
//     Summary  1 value: repeated Value
//     Value    1 tag: string   2 simple_value: float
//
// The size of a record follows from its step and tags alone: a resumed run puts its records where
// they were before, so a TensorBoard that follows the file stays between two of them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "train/metrics.h"

namespace mixflow {

// In a run directory. TensorBoard looks for "tfevents" in the names of files.
inline constexpr std::string_view kEventsFile = "events.out.tfevents.mixflow";

// The record that a file begins with. `unix_s`, here and below: the time, in seconds since 1970.
std::string version_event(double unix_s);

// One record. Values are rounded to float, what is not finite stays so.
struct Scalar {
  std::string tag;
  double value = 0;
};
std::string scalar_event(double unix_s, std::int64_t step, std::span<const Scalar> scalars);

// meta_loss, inner_loss/first, inner_loss/last, meta_grad_norm, meta_lr and step_s.
std::string to_event(const MetricsLine& line, double unix_s);
// <split>/loss_after_<inner steps> and, where there are classes, <split>/accuracy_after_<inner
// steps>.
std::string to_event(const EvalResult& result, double unix_s);

// CRC-32C (Castagnoli; RFC 3720, appendix B.4), and what the file holds instead: a checksum over
// bytes that end in their own checksum would say nothing.
std::uint32_t crc32c(std::string_view bytes);
std::uint32_t masked_crc32c(std::string_view bytes);

}  // namespace mixflow
