// The part of the zip format that .npz files use: stored and deflated members, no encryption, below
// 4 GiB.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace mixflow {

// The contents of one member, its checksum verified. Throws UserError, its message beginning with
// `name`; a member that does not exist is reported with those that do.
std::vector<std::byte> read_zip_member(std::span<const std::byte> archive, const std::string& name,
                                       const std::string& member);

}  // namespace mixflow
