// A file on a disk that fails as disks do, in memory and from a seed: sectors written since the
// last sync survive a power cut or not, one by one; the size may be any that the file had since; a
// sync may fail and leave what it should have written in the cache alone, marked clean; writes may
// be short, fail, or stop in the middle. For tests only.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "env/file.h"
#include "env/random.h"

namespace tg {

// What lies under the handles and outlives them. Handles borrow it.
class SimulatedMedium {
 public:
  explicit SimulatedMedium(u64 seed)
      : random_(seed), sector_bytes_(random_.below(2) == 0 ? 512 : 4096) {}

  // Chances in 1,024, per call.
  struct Faults {
    u64 short_write = 0;
    u64 write_error = 0;
    u64 sync_error = 0;
    u64 size_error = 0;
    u64 power_cut = 0;  // In a write or sync: the call fails and so does all until cut_power().
  };
  void set_faults(const Faults& faults) { faults_ = faults; }
  // How many faults were injected so far, and power cuts that lost or tore something.
  i64 faults() const { return faults_injected_; }
  i64 losses() const { return losses_; }

  std::unique_ptr<File> open();

  // What the cache held and no sync made durable survives as the disk pleases.
  void cut_power() {
    u64 eagerness = random_.below(5);  // 0: nothing since the last sync, 4: all of it.
    std::vector<u8> found = durable_;
    u64 size = size_after_cut();
    for (const Change& change : changes_) apply_some(change, eagerness, found);
    found.resize(size);
    if (found != cache_) ++losses_;
    cache_ = durable_ = found;
    changes_.clear();
    is_off_ = false;
  }

  bool has_power() const { return !is_off_; }
  // The process has ended without a word: what its handles are asked for still does not happen.
  void kill() { ++lives_; }
  const std::vector<u8>& bytes() const { return cache_; }
  // Damage at rest: one bit, on the disk and so for every later reader.
  void flip_bit(u64 bit) {
    cache_[bit / 8] ^= static_cast<u8>(1 << bit % 8);
    durable_ = cache_;
  }

 private:
  class Handle;
  // A write, or if `bytes` is empty a change of size.
  struct Change {
    u64 offset = 0;
    std::vector<u8> bytes;
    u64 size = 0;  // Of the file afterwards.
  };

  bool happens(u64 chance) {
    bool yes = random_.below(1024) < chance;
    faults_injected_ += yes ? 1 : 0;
    return yes;
  }
  Error failed(const char* what) const {
    return Error{Code::kIo, "simulated: " + std::string(what)};
  }

  u64 size_after_cut() {
    u64 which = random_.below(changes_.size() + 1);
    if (which == 0) return durable_.size();
    u64 size = changes_[which - 1].size;
    u64 before = which == 1 ? durable_.size() : changes_[which - 2].size;
    // A file that grew may have grown by any part of it.
    if (size > before && random_.below(2) == 0) size = before + random_.below(size - before + 1);
    return size;
  }
  void apply_some(const Change& change, u64 eagerness, std::vector<u8>& found) {
    if (change.bytes.empty()) {
      // Cut and grown again, a file reads as zeros there.
      if (change.size < found.size() && random_.below(4) < eagerness) found.resize(change.size);
      return;
    }
    u64 end = change.offset + change.bytes.size();
    if (found.size() < end) found.resize(end);
    for (u64 at = change.offset; at < end;) {
      u64 next = std::min(end, (at / sector_bytes_ + 1) * sector_bytes_);
      if (random_.below(4) < eagerness) {
        std::copy(change.bytes.begin() + static_cast<std::ptrdiff_t>(at - change.offset),
                  change.bytes.begin() + static_cast<std::ptrdiff_t>(next - change.offset),
                  found.begin() + static_cast<std::ptrdiff_t>(at));
      }
      at = next;
    }
  }

  Result<u64> write_at(u64 offset, std::span<const u8> bytes) {
    if (is_off_) return failed("no power");
    if (happens(faults_.write_error)) return failed("write error");
    bool cut = happens(faults_.power_cut);
    if (bytes.size() > 1 && happens(faults_.short_write))
      bytes = bytes.first(short_size(offset, bytes.size()));
    if (cache_.size() < offset + bytes.size()) cache_.resize(offset + bytes.size());
    std::copy(bytes.begin(), bytes.end(), cache_.begin() + static_cast<std::ptrdiff_t>(offset));
    note_write(offset, offset + bytes.size());
    is_off_ = cut;
    if (cut) return failed("power cut in a write");
    return bytes.size();
  }
  // Whole blocks go to the disk itself, which ends between sectors.
  u64 short_size(u64 offset, u64 size) {
    u64 some = 1 + random_.below(size);
    if (offset % kBlockBytes != 0 || size % kBlockBytes != 0) return some;
    return std::max(sector_bytes_, some / sector_bytes_ * sector_bytes_);
  }
  // A cache writes whole sectors, with what is in them by then.
  void note_write(u64 begin, u64 end) {
    begin = begin / sector_bytes_ * sector_bytes_;
    end = std::min<u64>(cache_.size(), (end + sector_bytes_ - 1) / sector_bytes_ * sector_bytes_);
    auto at = [&](u64 offset) { return cache_.begin() + static_cast<std::ptrdiff_t>(offset); };
    changes_.push_back(
        {.offset = begin, .bytes = std::vector<u8>(at(begin), at(end)), .size = cache_.size()});
  }
  Status sync() {
    if (is_off_) return failed("no power");
    is_off_ = happens(faults_.power_cut);
    if (is_off_) return failed("power cut in a sync");
    if (happens(faults_.sync_error)) {
      lose_track();
      return failed("sync error");
    }
    for (const Change& change : changes_) apply_some(change, 4, durable_);
    durable_.resize(cache_.size());
    changes_.clear();
    return {};
  }
  // The pages are clean now, whether they reached the disk or not: no later sync writes them.
  void lose_track() {
    // Sizes are kept by the file system's journal; one that cannot write that stops for good.
    u64 eagerness = random_.below(5);
    for (const Change& change : changes_) apply_some(change, eagerness, durable_);
    durable_.resize(cache_.size());
    changes_.clear();
  }
  Status set_size(u64 size) {
    if (is_off_) return failed("no power");
    if (happens(faults_.size_error)) return failed("size error");
    cache_.resize(size);
    changes_.push_back({.size = size});
    return {};
  }

  SeededRandom random_;
  u64 sector_bytes_;
  Faults faults_;
  std::vector<u8> cache_;    // What readers see.
  std::vector<u8> durable_;  // What is on the disk.
  std::vector<Change> changes_;
  bool is_off_ = false;
  u64 lives_ = 0;
  i64 faults_injected_ = 0;
  i64 losses_ = 0;
};

class SimulatedMedium::Handle final : public File {
 public:
  explicit Handle(SimulatedMedium& medium) : medium_(medium), life_(medium.lives_) {}
  Result<u64> write_at(u64 offset, std::span<const u8> bytes) override {
    if (is_killed()) return medium_.failed("killed");
    return medium_.write_at(offset, bytes);
  }
  Result<u64> read_at(u64 offset, std::span<u8> bytes) const override {
    const std::vector<u8>& from = medium_.cache_;
    u64 count = std::min<u64>(bytes.size(), from.size() - std::min<u64>(offset, from.size()));
    std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(offset), count, bytes.begin());
    return count;
  }
  Status sync() override {
    if (is_killed()) return medium_.failed("killed");
    return medium_.sync();
  }
  Status set_size(u64 size) override {
    if (is_killed()) return medium_.failed("killed");
    return medium_.set_size(size);
  }
  Result<u64> size() const override { return medium_.cache_.size(); }
  const std::string& path() const override { return path_; }

 private:
  bool is_killed() const { return medium_.lives_ != life_; }

  SimulatedMedium& medium_;
  const u64 life_;
  std::string path_ = "simulated";
};

inline std::unique_ptr<File> SimulatedMedium::open() {
  return std::make_unique<Handle>(*this);
}

}  // namespace tg
