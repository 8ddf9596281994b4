// Rows in PostgreSQL's binary COPY format, written and read. Ids are uuid (0 is NULL), amounts
// numeric(39,0), unsigned 32-bit numbers bigint, unsigned 64-bit ones bigint with the same bits.
// Source: PostgreSQL 15 documentation, COPY, "Binary Format"; numeric's send and receive functions.
#pragma once

#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace tg::ledger {

class PostgresRowWriter {
 public:
  PostgresRowWriter() { clear(); }

  void clear();
  void begin_row(u16 fields);
  void add_i32(i32 value);
  void add_i64(i64 value);
  void add_id(u128 value);
  void add_amount(u128 value);
  void add_bytes(std::span<const u8> bytes);
  // Ends the stream and gives its bytes, borrowed until the next clear().
  std::span<const u8> finish();
  bool has_rows() const { return has_rows_; }

 private:
  template <typename T>
  void append(T value);

  std::vector<u8> out_;
  bool has_rows_ = false;
};

// The fields of one row, in order. What does not fit its type is remembered until check().
class PostgresRowReader {
 public:
  explicit PostgresRowReader(std::span<const u8> bytes) : rest_(bytes) {}

  // False at the end of the stream. The first message of a stream has a header before its row.
  bool begin_row(u16 fields, bool has_header);
  i32 i32_field();
  i64 i64_field();
  // A number that must fit T.
  template <typename T>
  T narrow() {
    i64 value = i64_field();
    is_ok_ = is_ok_ && std::in_range<T>(value);
    return static_cast<T>(value);
  }
  template <typename T>
  T narrow_i32() {
    i32 value = i32_field();
    is_ok_ = is_ok_ && std::in_range<T>(value);
    return static_cast<T>(value);
  }
  u128 id_field();
  u128 amount_field();
  bool is_ok() const { return is_ok_; }

 private:
  std::span<const u8> field();
  std::span<const u8> take(std::size_t count);
  template <typename T>
  T read();

  std::span<const u8> rest_;
  bool is_ok_ = true;
};

// numeric as the wire has it, without its length.
u128 amount_from_numeric(std::span<const u8> bytes, bool& is_ok);

}  // namespace tg::ledger
