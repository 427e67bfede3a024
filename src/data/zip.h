// The part of the zip format that .npz files use: stored and deflated members, no encryption, of
// any size (zip64).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "util/shared_bytes.h"

namespace mixflow {

// Where a member is; not yet unpacked, nor its checksum verified.
struct ZipMember {
  std::string what;  // archive:member, for messages
  SharedBytes packed;
  bool deflated = false;
  std::uint64_t size = 0;  // unpacked
  std::uint32_t checksum = 0;
};

// Throws UserError, its message beginning with `name`; a member that does not exist is reported
// with those that do.
ZipMember find_zip_member(const SharedBytes& archive, const std::string& name,
                          const std::string& member);

// The contents of one member, its checksum verified: part of the archive where the member is
// stored, a buffer where it is deflated. Throws UserError.
SharedBytes read_zip_member(const SharedBytes& archive, const std::string& name,
                            const std::string& member);
// Its first bytes, up to `most`; no checksum covers them.
std::vector<std::byte> unpack_begin(const ZipMember& member, std::size_t most);

}  // namespace mixflow
