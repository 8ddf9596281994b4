// All stacks that a text read so far may have left, as one number. A stack frame is where to return
// and the frames below, of which there may be several (a graph-structured stack, after Tomita);
// equal frames and equal sets of stacks get the same number, so that what a byte leads to is worked
// out once and looked up afterwards, and so is a mask. Calls in last place push nothing: a list
// that recurs on its right runs on a stack of constant depth. Not safe for threads: see
// CompiledGrammar.
#pragma once

#include <span>
#include <vector>

#include "grammar/machine.h"
#include "grammar/token_table.h"

namespace tg::grammar {

// Deepest nesting of frames; a byte that would go deeper is refused.
inline constexpr i32 kStackDepthMax = 512;
// Most frames and returns one byte may pass through: only grammars with a great many readings of
// one text come near. Past it the byte is refused.
inline constexpr i64 kClosureMax = i64{1} << 14;
// Past either of these the memory of a pool is spent, and a new one takes over.
inline constexpr i64 kPoolConfigsMax = i64{1} << 16;
inline constexpr i64 kPoolMaskBytesMax = i64{16} << 20;

// A state and the number of a frame set: a stack, or where a frame returns.
struct Place {
  i32 state = -1;
  i32 frame = -1;
  auto operator<=>(const Place&) const = default;
};

// Numbers sets of places; equal sets have equal numbers.
class PlaceSets {
 public:
  PlaceSets() : slots_(1024, -1), begins_(1, 0) {}
  // REQUIRES: `places` in order, without duplicates.
  i32 name(std::span<const Place> places);
  std::span<const Place> of(i32 set) const {
    return std::span<const Place>(places_).subspan(begins_[set], begins_[set + 1] - begins_[set]);
  }
  i64 size() const { return static_cast<i64>(begins_.size()) - 1; }

 private:
  void grow();

  std::vector<i32> slots_;
  std::vector<u64> begins_;
  std::vector<u64> hashes_;
  std::vector<Place> places_;
};

// Tokens allowed at one point, as a mask of plain tokens, and ids or a mask of others.
struct TokenSet {
  i32 plain_chars = 0;
  std::vector<TokenId> ids;
  std::vector<u64> words;  // In place of `ids` where those would be longer.
};

class StackPool {
 public:
  // Borrows both.
  StackPool(const Machine& machine, const TokenTable& tokens);

  static constexpr i32 kDead = -1;
  // Before any text.
  i32 start() const { return start_; }
  // After one more byte; kDead if the grammar does not allow it.
  i32 step(i32 config, u8 byte);
  // After more bytes.
  i32 run(i32 config, std::string_view bytes);
  // The text so far is complete.
  bool can_end(i32 config) const;
  // Sets the bits of the tokens allowed next in `mask`, all words of which are written; tokens that
  // end a reply are among them if the text can end.
  void fill_mask(i32 config, std::span<u64> mask);

  // fill_mask has been asked for it.
  bool is_mask_known(i32 config) const {
    std::size_t at = static_cast<std::size_t>(config);
    return at < set_of_.size() && set_of_[at] >= 0;
  }

  bool is_spent() const {
    return configs_.size() > kPoolConfigsMax || mask_bytes_ > kPoolMaskBytesMax;
  }
  // The number here of a set of stacks from another pool of the same machine.
  i32 adopt(const StackPool& from, i32 config);

 private:
  i32 compute_step(i32 config, u8 byte);
  i32 close();
  void follow_returns();
  void add_calls(Place place);
  void enter_rules();
  i32 name_config();
  i32 name_frame(std::vector<Place>& returns);
  i32 adopt_frame(const StackPool& from, i32 frame, std::vector<i32>& names);
  const TokenSet& tokens_of(i32 config);
  void walk(const TokenTrie& trie, i32 config, std::vector<TokenId>& ids);

  const Machine& machine_;
  const TokenTable& tokens_;
  i64 classes_;
  PlaceSets frames_;
  std::vector<i32> depths_;  // Of frames.
  PlaceSets configs_;
  std::vector<i32> rows_;    // [configs, classes]: where a byte leads, kDead or kUnknown.
  std::vector<i32> set_of_;  // Of configs: index in sets_, or -1.
  std::vector<TokenSet> sets_;
  i64 mask_bytes_ = 0;
  i32 start_ = kDead;

  // Scratch.
  std::vector<Place> places_;
  std::vector<std::vector<Place>> returns_;  // By rule: where the calls collected so far return.
  std::vector<i32> called_;                  // Rules with such, a heap by position.
  std::vector<i32> path_;
};

}  // namespace tg::grammar
