// For tests: a little language that changes the bytes of an encoded program.
//
//   header[I] = V                    a word of the header, as written
//   SEC[I] = V, SEC.byte[I] = V      a word or byte of a section's payload
//   code[OP+I] = V                   a word of main's code, from its first OP on
//   SEC.id = V, SEC.words = V        the section's header words, as written
//   drop SEC, copy SEC, swap SEC SEC sections; sizes and counts follow
//   insert SEC I V, erase SEC I      words of a payload; sizes follow
//   pad SEC = V                      the padding word after an odd payload
//   seal                             META's check word as it should be
//   byte I = V, truncate N, extend N the finished bytes, last; a negative I counts from the end
//
// Also "+=" and "^=". SEC is STR, REQ, SYM, WGT, KV, FUNC, CONST, COST or META.
#pragma once

#include <map>

#include "base/bytes.h"
#include "isa/binary.h"
#include "isa/encode.h"
#include "isa/verify/testing/rule_table.h"

namespace tg::isa {

class ImageMutation {
 public:
  explicit ImageMutation(std::span<const u8> bytes) {
    for (std::size_t i = 0; i < 8; ++i) header_.push_back(word_at(bytes, 4 * i));
    for (std::size_t at = kHeaderBytes; at < bytes.size();) {
      Part part{.id = word_at(bytes, at), .payload = {}};
      std::size_t words = word_at(bytes, at + 4);
      for (std::size_t i = 0; i < words; ++i)
        part.payload.push_back(word_at(bytes, at + 8 + 4 * i));
      at += 8 + (words + words % 2) * 4;
      parts_.push_back(std::move(part));
    }
  }

  std::vector<u8> run(const std::string& statements) {
    std::vector<std::vector<std::string>> on_bytes;
    std::stringstream in(statements);
    for (std::string one; std::getline(in, one, ';');) {
      std::stringstream words(one);
      std::vector<std::string> list;
      for (std::string word; words >> word;) list.push_back(word);
      if (list.empty()) continue;
      if (list[0] == "byte" || list[0] == "truncate" || list[0] == "extend") {
        on_bytes.push_back(list);
      } else if (!statement(list)) {
        ADD_FAILURE() << "cannot do: " << one;
      }
    }
    std::vector<u8> bytes = written();
    for (const std::vector<std::string>& list : on_bytes) change_bytes(bytes, list);
    return bytes;
  }

 private:
  struct Part {
    u32 id = 0;
    std::vector<u32> payload;
    i64 words = -1;  // as written, if not the payload's
    u32 padding = 0;
  };

  static u32 word_at(std::span<const u8> bytes, std::size_t at) {
    return u32{bytes[at]} | u32{bytes[at + 1]} << 8 | u32{bytes[at + 2]} << 16 |
           u32{bytes[at + 3]} << 24;
  }

  static i64 number(const std::string& text) { return std::strtoll(text.c_str(), nullptr, 0); }

  static u32 changed(u32 old, const std::string& how, const std::string& value) {
    u32 v = static_cast<u32>(number(value));
    return how == "=" ? v : how == "+=" ? old + v : old ^ v;
  }

  std::size_t find(std::string_view name) const {
    static constexpr std::string_view kNames[] = {"",   "STR",  "REQ",   "SYM",  "WGT",
                                                  "KV", "FUNC", "CONST", "COST", "META"};
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      if (kNames[parts_[i].id & 0xF] == name) return i;
    }
    return parts_.size();
  }

  bool statement(const std::vector<std::string>& w) {
    if (w[0] == "seal") return seal();
    if (w.size() < 2) return false;
    std::size_t first = find(w[1]);
    if (w[0] == "drop" && first < parts_.size())
      return parts_.erase(parts_.begin() + static_cast<i64>(first)), true;
    if (w[0] == "copy" && first < parts_.size()) {
      Part same = parts_[first];
      return parts_.insert(parts_.begin() + static_cast<i64>(first), same), true;
    }
    if (w.size() < 3) return false;
    if (w[0] == "swap") return std::swap(parts_.at(first), parts_.at(find(w[2]))), true;
    if (w[0] == "pad" && w.size() > 3)
      return parts_.at(first).padding = static_cast<u32>(number(w[3])), true;
    if (w[0] == "erase" || w[0] == "insert") return edit(w, first);
    return assign(w);
  }

  bool edit(const std::vector<std::string>& w, std::size_t part) {
    if (part >= parts_.size()) return false;
    std::vector<u32>& p = parts_[part].payload;
    i64 at = number(w[2]);
    bool inserts = w[0] == "insert" && w.size() > 3;
    if (at < 0 || at >= static_cast<i64>(p.size()) + (inserts ? 1 : 0)) return false;
    if (inserts) {
      p.insert(p.begin() + at, static_cast<u32>(number(w[3])));
    } else {
      p.erase(p.begin() + at);
    }
    return true;
  }

  bool assign(const std::vector<std::string>& w) {
    const std::string& target = w[0];
    std::size_t bracket = std::min(target.find('['), target.size());
    std::string name = target.substr(0, bracket);
    std::string index = bracket < target.size()
                            ? target.substr(bracket + 1, target.size() - bracket - 2)
                            : std::string();
    if (name == "header") return overrides_[number(index)] = {w[1], w[2]}, true;
    if (name == "code") return set_code(index, w);
    std::size_t dot = std::min(name.find('.'), name.size());
    std::size_t at = find(name.substr(0, dot));
    if (at >= parts_.size()) return false;
    Part& part = parts_[at];
    std::string member = dot < name.size() ? name.substr(dot + 1) : "";
    if (member == "id") return part.id = changed(part.id, w[1], w[2]), true;
    if (member == "words")
      return part.words = changed(static_cast<u32>(part.payload.size()), w[1], w[2]), true;
    std::size_t i = static_cast<std::size_t>(number(index));
    if (member == "byte" && i < part.payload.size() * 4) {
      u32 shift = static_cast<u32>(i % 4 * 8);
      u32& word = part.payload[i / 4];
      u32 byte = changed(word >> shift & 0xFF, w[1], w[2]) & 0xFF;
      word = (word & ~(0xFFu << shift)) | byte << shift;
      return true;
    }
    if (!member.empty() || i >= part.payload.size()) return false;
    part.payload[i] = changed(part.payload[i], w[1], w[2]);
    return true;
  }

  // REQUIRES: one function, so that its code ends the section.
  bool set_code(const std::string& place, const std::vector<std::string>& w) {
    std::size_t plus = std::min(place.find('+'), place.size());
    std::optional<Opcode> op = opcode_by_name(place.substr(0, plus));
    std::size_t offset =
        plus < place.size() ? static_cast<std::size_t>(number(place.substr(plus))) : 0;
    if (!op) return false;
    std::vector<u32>& p = parts_.at(find("FUNC")).payload;
    std::size_t at = p.size() - p[6];
    while (at < p.size() && (p[at] & 0xFFFF) != static_cast<u32>(*op)) at += p[at] >> 16;
    if (at + offset >= p.size()) return false;
    p[at + offset] = changed(p[at + offset], w[1], w[2]);
    return true;
  }

  bool seal() {
    std::size_t at = find("META");
    if (at >= parts_.size()) return false;
    std::vector<u32>& p = parts_[at].payload;
    p[0] = check_word(std::span<const u32>(p).subspan(1));
    return true;
  }

  std::vector<u8> written() {
    std::vector<u8> bytes(kHeaderBytes);
    for (const Part& part : parts_) {
      append_u32(bytes, part.id);
      append_u32(bytes, static_cast<u32>(part.words >= 0 ? part.words
                                                         : static_cast<i64>(part.payload.size())));
      for (u32 word : part.payload) append_u32(bytes, word);
      if (part.payload.size() % 2 != 0) append_u32(bytes, part.padding);
    }
    header_[3] = static_cast<u32>(parts_.size());
    header_[4] = static_cast<u32>(bytes.size());
    for (const auto& [i, change] : overrides_) {
      u32& word = header_.at(static_cast<std::size_t>(i));
      word = changed(word, change.first, change.second);
    }
    for (std::size_t i = 0; i < 32; ++i)
      bytes[i] = static_cast<u8>(header_[i / 4] >> (8 * (i % 4)));
    return bytes;
  }

  static void change_bytes(std::vector<u8>& bytes, const std::vector<std::string>& w) {
    i64 n = number(w[1]);
    if (w[0] == "truncate") {
      bytes.resize(static_cast<std::size_t>(n >= 0 ? n : n + static_cast<i64>(bytes.size())));
    } else if (w[0] == "extend") {
      bytes.resize(bytes.size() + static_cast<std::size_t>(n));
    } else {
      u8& byte =
          bytes.at(static_cast<std::size_t>(n >= 0 ? n : n + static_cast<i64>(bytes.size())));
      byte = static_cast<u8>(changed(byte, w[2], w[3]));
    }
  }

  std::vector<u32> header_;
  std::vector<Part> parts_;
  std::map<i64, std::pair<std::string, std::string>> overrides_;
};

}  // namespace tg::isa
