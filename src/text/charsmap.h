// SentencePiece's precompiled_charsmap: a table of replacements (its NFKC and the like) as a
// Darts-clone double array over the bytes of what is replaced, followed by the replacements.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace tg {

class Charsmap {
 public:
  static constexpr i64 kBytesMax = i64{16} << 20;

  Charsmap() = default;  // Replaces nothing.
  // Layout: u32 size of the array in bytes, the array of u32 units, then strings that each end in
  // a zero byte; all little-endian. kCorrupt if sizes or strings contradict that.
  static Result<Charsmap> create(std::string_view blob);

  struct Match {
    std::string_view replacement;  // Well-formed UTF-8, borrowed.
    i64 size = 0;                  // Bytes of the text it replaces; 0: nothing matches.
  };
  // The longest entry at text[at], as in SentencePiece. (Hugging Face's own library looks at whole
  // grapheme clusters first, and differs where one of several characters is replaced.) Units that
  // point outside the array or into the middle of a string match nothing. REQUIRES: well-formed
  // UTF-8.
  Match longest(std::string_view text, i64 at) const;

 private:
  bool begins_string(u32 offset) const;

  std::vector<u32> units_;
  std::string strings_;
};

}  // namespace tg
