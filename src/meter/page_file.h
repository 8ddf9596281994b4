// The fixed-size records beside a receipt log, and where each request's record is. Requests are
// found through 4 bytes each in memory; their ids stay on disk.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "env/append_file.h"
#include "meter/receipt.h"

namespace tg::meter {

struct PageRecord {
  u128 request = 0;  // 0: the document is no draft
  u64 page = 0;      // how many pages up to here: its own number, if it is one
  Registers end;     // after this entry
};

class PageFile {
 public:
  // Opens or creates. kCorrupt if it holds fewer than `count` records or a record's check word does
  // not fit; records beyond are dropped.
  static Result<PageFile> open(const std::string& path, u64 count);

  Status append_durably(std::span<const PageRecord> records);
  Result<PageRecord> read(u64 index) const;
  std::optional<u64> find(u128 request) const;
  u64 size() const { return count_; }

 private:
  explicit PageFile(AppendFile file) : file_(std::move(file)) {}
  void index(u128 request, u64 at);
  void place(u128 request, u64 at);
  void grow(u64 end);

  AppendFile file_;
  u64 count_ = 0;
  u64 indexed_ = 0;
  std::vector<u32> slots_;  // open addressing; entry + 1, 0 is free
};

}  // namespace tg::meter
