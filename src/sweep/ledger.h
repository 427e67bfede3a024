// ledger.jsonl: what happened to each point, in lines that are only ever appended, each synced.
//
//   {"time": "2026-11-25T08:00:00Z", "point": ID, "state": "queued"}
//   {.., "state": "running", "attempt": 1, "host": "a", "boot": ID, "pid": 7, "child": 8,
//        "heartbeat": 0, "cpus": [0], "threads": 1, "process_bytes": 70000000, "scope": ".."}
//                                                      repeated while it runs
//   {.., "state": "done", "attempt": 1, "seconds": 3.2, "loss": 0.25, "split": "test"}
//   {.., "state": "failed", "attempt": 1, "kind": "memory", "reason": ".."}
//   {.., "state": "skipped", "reason": ".."}           this process may not run it: no room
//   {.., "state": "queued", "attempt": 1, "reason": "interrupted"}         given back
//
// Several processes append: each takes the file's lock, so that a check and what follows from it
// are one act, and lines do not mix on file systems without atomic appends. A line that a crash has
// cut short is ended by the next writer and skipped by readers.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "util/clock.h"

namespace mixflow {

// Attempts of a point beyond this are no record of ours.
inline constexpr int kMostAttempts = 1'000'000;

enum class PointState : std::uint8_t { queued, running, done, failed, skipped };
std::string_view name_of(PointState state);

// The last word about a point.
struct PointStatus {
  PointState state = PointState::queued;
  int attempt = 0;                // the latest that began; 0: none
  nlohmann::ordered_json record;  // the line
  // When this process read it: the age of a heartbeat by this clock alone, since clocks of machines
  // differ.
  Clock::time_point seen;
};

// What a ledger's lines say of each point.
class PointStates {
 public:
  // A line without its end. One that is no record, or has a value of a wrong type, only counts as
  // damaged. Nothing changes a point
  // after `done`, nor do attempts before its latest: their processes were taken for dead.
  void read_line(std::string_view line);
  // A point that is not there has not been heard of.
  const PointStatus& status(const std::string& id) const;
  std::size_t damaged() const { return damaged_; }

 private:
  std::map<std::string, PointStatus> points_;
  std::size_t damaged_ = 0;
};

// Of a file that is not written to. Throws UserError or RunError, as read_text does.
PointStates read_ledger(const std::filesystem::path& path);

class Ledger {
 public:
  // Opens an existing file. Throws RunError.
  explicit Ledger(const std::filesystem::path& path);
  ~Ledger();
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  // Reads what has been appended since.
  void refresh();
  const PointStatus& status(const std::string& id) const { return points_.status(id); }
  std::size_t damaged() const { return points_.damaged(); }  // lines that were no records

  // Held by one process at a time, where the file system has locks.
  class Lock {
   public:
    explicit Lock(Ledger& ledger);
    ~Lock();
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

   private:
    Ledger& ledger_;
  };

  // Appends records in one write, syncs, and reads them back. Under a Lock. `time` is added. Throws
  // RunError.
  void append_all(std::span<const nlohmann::ordered_json> records);
  void append(const nlohmann::ordered_json& record) { append_all(std::span(&record, 1)); }

 private:
  std::filesystem::path path_;
  int fd_ = -1;
  std::int64_t offset_ = 0;  // of what has not been read
  PointStates points_;
};

// A line of the ledger for a record; `time` in front.
std::string ledger_line(const nlohmann::ordered_json& record);

}  // namespace mixflow
