#include "meter/page_file.h"

#include <algorithm>
#include <array>
#include <bit>

#include "base/assert.h"
#include "base/hash.h"

namespace tg::meter {

namespace {

constexpr std::size_t kRecordBytes = 128;
constexpr std::size_t kCheckedBytes = 112;
constexpr u64 kScanRecords = 8'192;
constexpr std::size_t kSlotsMin = 1'024;

using Record = std::span<u8, kRecordBytes>;
using ConstRecord = std::span<const u8, kRecordBytes>;

void put(Record out, std::size_t at, u128 value, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) out[at + i] = static_cast<u8>(value >> (8 * i));
}

u128 get(ConstRecord in, std::size_t at, std::size_t bytes) {
  u128 value = 0;
  for (std::size_t i = bytes; i-- > 0;) value = value << 8 | in[at + i];
  return value;
}

Digest check_of_record(ConstRecord record) {
  return sha256(std::span<const u8>(record).first(kCheckedBytes));
}

void encode(const PageRecord& r, Record out) {
  put(out, 0, r.request, 16);
  put(out, 16, r.page, 8);
  put(out, 24, 0, 8);
  put(out, 32, r.end.nominal_nst, 16);
  put(out, 48, r.end.billed, 16);
  put(out, 64, r.end.prompt_tokens, 16);
  put(out, 80, r.end.cached_tokens, 16);
  put(out, 96, r.end.output_tokens, 16);
  Digest check = check_of_record(out);
  std::copy_n(check.begin(), kRecordBytes - kCheckedBytes, out.begin() + kCheckedBytes);
}

std::optional<PageRecord> decode(ConstRecord in) {
  Digest check = check_of_record(in);
  if (!std::equal(in.begin() + kCheckedBytes, in.end(), check.begin())) return std::nullopt;
  PageRecord r;
  r.request = get(in, 0, 16);
  r.page = static_cast<u64>(get(in, 16, 8));
  r.end.nominal_nst = get(in, 32, 16);
  r.end.billed = get(in, 48, 16);
  r.end.prompt_tokens = get(in, 64, 16);
  r.end.cached_tokens = get(in, 80, 16);
  r.end.output_tokens = get(in, 96, 16);
  return r;
}

Error corrupt(const AppendFile& file, u64 index) {
  return Error{Code::kCorrupt, file.path() + ": record " + std::to_string(index) + " is damaged"};
}

// Ids are hashes already; their low word spreads well.
u64 hash_of(u128 request) {
  return static_cast<u64>(request) ^ static_cast<u64>(request >> 64);
}

}  // namespace

Result<PageFile> PageFile::open(const std::string& path, u64 count) {
  TG_ASSIGN(AppendFile file, AppendFile::open(path));
  if (file.size() < count * kRecordBytes)
    return Error{Code::kCorrupt, path + ": ends before record " + std::to_string(count)};
  if (file.size() > count * kRecordBytes) TG_TRY(file.truncate(count * kRecordBytes));
  PageFile out(std::move(file));
  out.slots_.assign(std::max<std::size_t>(kSlotsMin, std::bit_ceil(4 * count)), 0);
  std::vector<u8> bytes;
  for (u64 first = 0; first < count; first += kScanRecords) {
    u64 records = std::min(kScanRecords, count - first);
    bytes.resize(records * kRecordBytes);
    TG_TRY(out.file_.read(first * kRecordBytes, bytes));
    for (u64 i = 0; i < records; ++i) {
      std::optional<PageRecord> record =
          decode(ConstRecord(bytes.data() + i * kRecordBytes, kRecordBytes));
      if (!record) return corrupt(out.file_, first + i);
      out.count_ = first + i + 1;
      if (record->request != 0) out.index(record->request, first + i);
    }
  }
  return out;
}

Status PageFile::append_durably(std::span<const PageRecord> records) {
  std::vector<u8> bytes(records.size() * kRecordBytes);
  for (std::size_t i = 0; i < records.size(); ++i)
    encode(records[i], Record(bytes.data() + i * kRecordBytes, kRecordBytes));
  TG_TRY(file_.append_durably(bytes));
  for (const PageRecord& record : records) {
    ++count_;
    if (record.request != 0) index(record.request, count_ - 1);
  }
  return {};
}

Result<PageRecord> PageFile::read(u64 at) const {
  TG_ASSERT(at < count_);
  std::array<u8, kRecordBytes> bytes;
  TG_TRY(file_.read(at * kRecordBytes, bytes));
  std::optional<PageRecord> record = decode(bytes);
  if (!record) return corrupt(file_, at);
  return *record;
}

std::optional<u64> PageFile::find(u128 request) const {
  for (u64 slot = hash_of(request);; ++slot) {
    u32 entry = slots_[slot % slots_.size()];
    if (entry == 0) return std::nullopt;
    Result<PageRecord> record = read(entry - 1);
    if (record.ok() && record->request == request) return entry - 1;
  }
}

void PageFile::index(u128 request, u64 at) {
  TG_ASSERT(at < UINT32_MAX);
  if (2 * (indexed_ + 1) > slots_.size()) grow(at);
  place(request, at);
  ++indexed_;
}

void PageFile::place(u128 request, u64 at) {
  u64 slot = hash_of(request);
  while (slots_[slot % slots_.size()] != 0) ++slot;
  slots_[slot % slots_.size()] = static_cast<u32>(at + 1);
}

// The records before `end` are read again to be placed anew, many at a time; doubling keeps that
// rare. Whether they are whole is found out by who reads one for what it says.
void PageFile::grow(u64 end) {
  slots_.assign(2 * slots_.size(), 0);
  std::vector<u8> bytes;
  for (u64 first = 0; first < end; first += kScanRecords) {
    u64 records = std::min(kScanRecords, end - first);
    bytes.resize(records * kRecordBytes);
    if (!file_.read(first * kRecordBytes, bytes).ok()) return;
    for (u64 i = 0; i < records; ++i) {
      u128 request = get(ConstRecord(bytes.data() + i * kRecordBytes, kRecordBytes), 0, 16);
      if (request != 0) place(request, first + i);
    }
  }
}

}  // namespace tg::meter
