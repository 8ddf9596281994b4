// Any bytes as a signed note and as a receipt: an error or a receipt that prints back the same.
#include <cstdlib>

#include "meter/receipt.h"
#include "meter/signer.h"

extern "C" int LLVMFuzzerTestOneInput(const tg::u8* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  tg::Result<tg::meter::Note> note = tg::meter::parse_note(text);
  if (note.ok()) tg::meter::verify_note(*note, tg::meter::PublicKey{});
  tg::Result<tg::meter::Receipt> receipt = tg::meter::parse_receipt(note.ok() ? note->text : text);
  if (receipt.ok() && tg::meter::to_text(*receipt) != (note.ok() ? note->text : text)) std::abort();
  return 0;
}
