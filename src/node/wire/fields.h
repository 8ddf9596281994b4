// How the protocol writes fields: one template per direction over the same list of fields, so that
// writer and reader cannot part.
#pragma once

#include <bit>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"

namespace tg::node::wire {

class FieldWriter {
 public:
  explicit FieldWriter(std::string& out) : out_(out) {}

  template <typename T>
  void number(const T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      little_endian<u8>(value ? 1 : 0);
    } else if constexpr (std::is_enum_v<T>) {
      little_endian<u8>(static_cast<u8>(value));
    } else if constexpr (std::is_same_v<T, f32>) {
      little_endian(std::bit_cast<u32>(value));
    } else if constexpr (std::is_same_v<T, f64>) {
      little_endian(std::bit_cast<u64>(value));
    } else if constexpr (std::is_same_v<T, u128>) {
      little_endian(static_cast<u64>(value));
      little_endian(static_cast<u64>(value >> 64));
    } else {
      little_endian(static_cast<std::make_unsigned_t<T>>(value));
    }
  }
  template <typename E>
  void choice(const E& value, E) {
    number(value);
  }
  void text(const std::string& value, std::size_t max) {
    std::string_view kept = std::string_view(value).substr(0, max);
    little_endian(static_cast<u32>(kept.size()));
    out_ += kept;
  }
  void digest(const Digest& value) {
    out_.append(reinterpret_cast<const char*>(value.data()), value.size());
  }
  template <typename T, typename Each>
  void list(const std::vector<T>& values, std::size_t, Each each) {
    little_endian(static_cast<u32>(values.size()));
    for (const T& value : values) each(*this, value);
  }

 private:
  template <typename T>
  void little_endian(T value) {
    static_assert(std::endian::native == std::endian::little);
    out_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }

  std::string& out_;
};

// Reads into the same fields. The first error stands; after it everything reads as zero.
class FieldReader {
 public:
  explicit FieldReader(std::span<const u8> bytes) : reader_(bytes, "node frame") {}

  template <typename T>
  void number(T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      value = take<u8>() != 0;
    } else if constexpr (std::is_same_v<T, f32>) {
      value = std::bit_cast<f32>(take<u32>());
    } else if constexpr (std::is_same_v<T, f64>) {
      value = std::bit_cast<f64>(take<u64>());
    } else if constexpr (std::is_same_v<T, u128>) {
      u64 low = take<u64>();
      value = static_cast<u128>(take<u64>()) << 64 | low;
    } else {
      value = static_cast<T>(take<std::make_unsigned_t<T>>());
    }
  }
  // An enum whose last value is `last`.
  template <typename E>
  void choice(E& value, E last) {
    u8 read = take<u8>();
    if (read > static_cast<u8>(last)) return fail("a value of " + std::to_string(read));
    value = static_cast<E>(read);
  }
  void text(std::string& value, std::size_t max) { value = as_text(take_bytes(take<u32>(), max)); }
  void digest(Digest& value) {
    std::span<const u8> bytes = take_bytes(value.size(), value.size());
    if (bytes.size() == value.size()) std::memcpy(value.data(), bytes.data(), value.size());
  }
  // Each element takes at least one byte, so that a length cannot claim more than there is.
  template <typename T, typename Each>
  void list(std::vector<T>& values, std::size_t max, Each each) {
    u32 count = take<u32>();
    if (count > max || count > reader_.remaining()) return fail("a list of that length");
    values.resize(count);
    for (T& value : values) {
      if (error_) return;
      each(*this, value);
    }
  }
  Status end() {
    if (!error_ && reader_.remaining() > 0) fail("bytes beyond its end");
    if (error_) return *error_;
    return {};
  }

 private:
  template <typename T>
  T take() {
    std::span<const u8> bytes = take_bytes(sizeof(T), sizeof(T));
    T value = 0;
    if (bytes.size() == sizeof(T)) std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }
  std::span<const u8> take_bytes(std::size_t count, std::size_t max) {
    if (error_) return {};
    if (count > max) {
      fail("a text of " + std::to_string(count) + " bytes");
      return {};
    }
    Result<std::span<const u8>> bytes = reader_.bytes(count);
    if (bytes.ok()) return *bytes;
    error_ = bytes.error();
    return {};
  }
  void fail(const std::string& what) {
    if (!error_) error_ = Error{Code::kCorrupt, "a node's frame has " + what};
  }

  Reader reader_;
  std::optional<Error> error_;
};

}  // namespace tg::node::wire
