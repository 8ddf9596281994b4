#include "ledger/postgres_rows.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "base/assert.h"
#include "base/checked.h"

namespace tg::ledger {

namespace {

constexpr std::array<u8, 11> kSignature = {'P', 'G', 'C', 'O', 'P', 'Y', '\n', 0xFF, '\r', '\n', 0};
constexpr std::size_t kHeaderBytes = kSignature.size() + 8;
constexpr u32 kNumericBase = 10'000;

template <typename T>
T big_endian(T value) {
  static_assert(std::endian::native == std::endian::little);
  if constexpr (sizeof(T) == 2) return static_cast<T>(__builtin_bswap16(static_cast<u16>(value)));
  if constexpr (sizeof(T) == 4) return static_cast<T>(__builtin_bswap32(static_cast<u32>(value)));
  if constexpr (sizeof(T) == 8) return static_cast<T>(__builtin_bswap64(static_cast<u64>(value)));
}

}  // namespace

// --- writing ------------------------------------------------------------------------------------

template <typename T>
void PostgresRowWriter::append(T value) {
  T swapped = big_endian(value);
  const u8* bytes = reinterpret_cast<const u8*>(&swapped);
  out_.insert(out_.end(), bytes, bytes + sizeof(T));
}

void PostgresRowWriter::clear() {
  out_.assign(kSignature.begin(), kSignature.end());
  append<u32>(0);
  append<u32>(0);
  has_rows_ = false;
}

void PostgresRowWriter::begin_row(u16 fields) {
  append<u16>(fields);
  has_rows_ = true;
}

void PostgresRowWriter::add_i32(i32 value) {
  append<u32>(4);
  append<i32>(value);
}

void PostgresRowWriter::add_i64(i64 value) {
  append<u32>(8);
  append<i64>(value);
}

void PostgresRowWriter::add_id(u128 value) {
  if (value == 0) return append<i32>(-1);
  append<u32>(16);
  append<u64>(static_cast<u64>(value >> 64));
  append<u64>(static_cast<u64>(value));
}

void PostgresRowWriter::add_amount(u128 value) {
  std::array<u16, 10> digits;  // Base 10,000, the least first; 2^128 has 39 decimal digits.
  u16 count = 0;
  for (; value != 0; value /= kNumericBase) {
    digits[count++] = static_cast<u16>(value % kNumericBase);
  }
  append<u32>(8 + 2 * u32{count});
  append<u16>(count);
  append<u16>(count == 0 ? u16{0} : static_cast<u16>(count - 1));  // Weight of the first digit.
  append<u32>(0);                                                  // Positive, no fraction.
  for (u16 i = count; i > 0; --i) append<u16>(digits[i - 1u]);
}

void PostgresRowWriter::add_bytes(std::span<const u8> bytes) {
  append<u32>(static_cast<u32>(bytes.size()));
  out_.insert(out_.end(), bytes.begin(), bytes.end());
}

std::span<const u8> PostgresRowWriter::finish() {
  append<i16>(-1);
  return out_;
}

// --- reading ------------------------------------------------------------------------------------

std::span<const u8> PostgresRowReader::take(std::size_t count) {
  is_ok_ = is_ok_ && count <= rest_.size();
  if (!is_ok_) return {};
  std::span<const u8> bytes = rest_.first(count);
  rest_ = rest_.subspan(count);
  return bytes;
}

template <typename T>
T PostgresRowReader::read() {
  std::span<const u8> bytes = take(sizeof(T));
  T value{};
  if (bytes.size() == sizeof(T)) std::memcpy(&value, bytes.data(), sizeof(T));
  return big_endian(value);
}

bool PostgresRowReader::begin_row(u16 fields, bool has_header) {
  if (has_header) take(kHeaderBytes);
  if (rest_.empty()) return false;
  u16 count = read<u16>();
  if (count == 0xFFFF) return false;
  is_ok_ = is_ok_ && count == fields;
  return true;
}

// Empty for NULL.
std::span<const u8> PostgresRowReader::field() {
  i32 bytes = read<i32>();
  return bytes <= 0 ? std::span<const u8>() : take(static_cast<std::size_t>(bytes));
}

i32 PostgresRowReader::i32_field() {
  is_ok_ = is_ok_ && read<i32>() == 4;
  return read<i32>();
}

i64 PostgresRowReader::i64_field() {
  is_ok_ = is_ok_ && read<i32>() == 8;
  return read<i64>();
}

u128 PostgresRowReader::id_field() {
  std::span<const u8> bytes = field();
  is_ok_ = is_ok_ && (bytes.empty() || bytes.size() == 16);
  u128 id = 0;
  for (u8 b : bytes) id = id << 8 | b;
  return id;
}

u128 PostgresRowReader::amount_field() {
  return amount_from_numeric(field(), is_ok_);
}

u128 amount_from_numeric(std::span<const u8> bytes, bool& is_ok) {
  auto word = [&](std::size_t i) -> u16 {
    return static_cast<u16>(bytes[2 * i] << 8 | bytes[2 * i + 1]);
  };
  is_ok = is_ok && bytes.size() >= 8 && bytes.size() % 2 == 0;
  if (!is_ok) return 0;
  u16 digits = word(0);
  u16 weight = word(1);
  is_ok = bytes.size() == 8 + 2 * std::size_t{digits} && word(2) == 0 && word(3) == 0 &&
          (digits == 0 || (weight < 10 && digits <= weight + 1));
  u128 value = 0;
  // Digits behind the last that is given are zeros.
  for (u32 i = 0; is_ok && digits > 0 && i <= weight; ++i) {
    u128 digit = i < digits ? word(4 + i) : u16{0};
    std::optional<u128> shifted = checked_mul(value, u128{kNumericBase});
    std::optional<u128> sum = shifted ? checked_add(*shifted, digit) : std::nullopt;
    is_ok = sum.has_value();
    value = sum.value_or(0);
  }
  return value;
}

}  // namespace tg::ledger
