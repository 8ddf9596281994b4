// Turns documents of a ledger, in the ledger's order, into the pages of a meter's log: entry i of
// the log is the ledger's document i + 1, a draft as the next page, anything else as a document.
// What the log needs beyond its entries stands beside them in a file of its own:
//   pages   128 bytes for each entry: request, page number, the registers after it, a check word
// Nothing in it is a source of truth: a lost `pages` is a matter of reading the ledger again into
// an empty folder with the same key, which gives the same log.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "meter/receipt_file.h"
#include "tlog/tile_log.h"

namespace tg::meter {

class ReceiptLog {
 public:
  // Opens or makes the log of the signer's meter. `log_name` is used for a new one; an existing one
  // keeps its own. Errors as tlog::TileLog::open.
  static Result<ReceiptLog> open(const std::string& directory, const std::string& log_name,
                                 tlog::NoteSigner signer);
  ~ReceiptLog();
  ReceiptLog(ReceiptLog&& other) noexcept;
  ReceiptLog& operator=(ReceiptLog&& other) noexcept;

  const std::string& name() const;  // the operator's
  u64 size() const;                 // documents taken so far
  u64 pages() const;
  const Registers& registers() const;  // now

  // Takes the next documents: one group of entries, one checkpoint. After an error the log must be
  // opened again. A draft of another suite is taken as a plain document.
  Status append(std::span<const std::string> documents);

  // The entry of a request's receipt.
  std::optional<u64> find(u128 request) const;
  // The buyer's file for entry `index`, from its document: a page with its proof for the last
  // checkpoint, a version 1 note as it is. kCorrupt if the document is not the one that was taken.
  Result<std::string> receipt_file(u64 index, std::string_view document);
  // Compares entry `index` with its document, as receipt_file does, without proving it.
  Status check_document(u64 index, std::string_view document);

  tlog::TileLog& log();

 private:
  struct State;
  explicit ReceiptLog(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace tg::meter
