#include "meter/receipt_log.h"

#include <thread>
#include <utility>

#include "base/assert.h"
#include "env/disk.h"
#include "meter/page_file.h"

namespace tg::meter {

struct ReceiptLog::State {
  State(tlog::TileLog tile_log, PageFile page_file, std::string log_name)
      : log(std::move(tile_log)),
        pages(std::move(page_file)),
        name(std::move(log_name)),
        meter(log.verifier().name),
        hasher(log.verifier().suite) {}

  Error corrupt(u64 index, const std::string& what) const {
    return Error{Code::kCorrupt, "receipt log: entry " + std::to_string(index) + " " + what};
  }
  Result<PageRecord> record_before(u64 index) const {
    if (index == 0) return PageRecord{};
    return pages.read(index - 1);
  }
  std::optional<Draft> as_page(std::string_view document, const PageRecord& before);
  Result<ReceiptFile> restore(u64 index, std::string_view document);

  tlog::TileLog log;
  PageFile pages;
  std::string name;
  std::string meter;
  tlog::Hasher hasher;
  PageRecord last;  // of the newest entry
};

namespace {

constexpr std::size_t kBetweenYields = 16;  // documents, some 5 us each

// An existing log's own name: its origin without "/<meter>".
Result<std::string> name_of_existing(const std::string& directory, const std::string& meter) {
  TG_ASSIGN(std::string text, read_file(directory + "/checkpoint", tlog::kNoteBytesMax));
  std::string_view origin = std::string_view(text).substr(0, text.find('\n'));
  std::string suffix = "/" + meter;
  if (!origin.ends_with(suffix) || origin.size() == suffix.size())
    return Error{Code::kCorrupt, "receipt log " + directory + " is not of " + meter};
  origin.remove_suffix(suffix.size());
  return std::string(origin);
}

}  // namespace

Result<ReceiptLog> ReceiptLog::open(const std::string& directory, const std::string& log_name,
                                    tlog::NoteSigner signer) {
  std::string meter = signer.name();
  if (receipt_name(meter) != meter)
    return Error{Code::kInvalid, "receipt log: '" + meter + "' cannot name a meter"};
  Result<std::string> name = name_of_existing(directory, meter);
  if (!name.ok() && name.error().code != Code::kNotFound) return name.error();
  if (!name.ok()) name = receipt_name(log_name);
  TG_ASSIGN(tlog::TileLog log,
            tlog::TileLog::open(directory, origin_of(*name, meter), std::move(signer)));
  TG_ASSIGN(PageFile pages, PageFile::open(directory + "/pages", log.size()));
  std::unique_ptr<State> state =
      std::make_unique<State>(std::move(log), std::move(pages), std::move(*name));
  TG_ASSIGN(state->last, state->record_before(state->pages.size()));
  return ReceiptLog(std::move(state));
}

ReceiptLog::ReceiptLog(std::unique_ptr<State> state) : state_(std::move(state)) {}
ReceiptLog::~ReceiptLog() = default;
ReceiptLog::ReceiptLog(ReceiptLog&& other) noexcept = default;
ReceiptLog& ReceiptLog::operator=(ReceiptLog&& other) noexcept = default;

const std::string& ReceiptLog::name() const {
  return state_->name;
}
u64 ReceiptLog::size() const {
  return state_->pages.size();
}
u64 ReceiptLog::pages() const {
  return state_->last.page;
}
const Registers& ReceiptLog::registers() const {
  return state_->last.end;
}
tlog::TileLog& ReceiptLog::log() {
  return state_->log;
}

// The draft with all that makes it the page after `before`; nullopt if it cannot be one.
std::optional<Draft> ReceiptLog::State::as_page(std::string_view document,
                                                const PageRecord& before) {
  // What becomes the page is written anew below, and the entry is of that.
  Result<Draft> draft = parse_draft(document, Canon::kTrusted);
  if (!draft.ok()) return std::nullopt;
  Receipt& r = draft->receipt;
  std::optional<Registers> end = advance(before.end, r);
  if (r.suite != hasher.suite() || r.request == 0 || !end) return std::nullopt;
  r.log = name;
  r.meter = meter;
  r.page = before.page + 1;
  r.nonce = nonce_of(hasher, draft->salt);
  r.begin = before.end;
  r.end = *end;
  return std::move(*draft);
}

Status ReceiptLog::append(std::span<const std::string> documents) {
  State& s = *state_;
  std::vector<std::string> entries;
  std::vector<PageRecord> records;
  PageRecord last = s.last;
  for (const std::string& document : documents) {
    // A group takes as long as a turn of the scheduler; who waits for this core need not.
    if (records.size() % kBetweenYields == 0) std::this_thread::yield();
    last.request = 0;
    std::optional<Draft> page = s.as_page(document, last);
    if (page) {
      const Receipt& r = page->receipt;
      entries.push_back(page_entry(s.hasher, r, to_text(r)));
      last = PageRecord{.request = r.request, .page = r.page, .end = r.end};
    } else {
      entries.push_back(document_entry(s.hasher, document));
    }
    records.push_back(last);
  }
  // Records first: those without an entry are dropped when the log is opened.
  TG_TRY(s.pages.append_durably(records));
  TG_TRY(s.log.append(entries));
  s.last = last;
  TG_ASSERT(s.pages.size() == s.log.size());
  return {};
}

std::optional<u64> ReceiptLog::find(u128 request) const {
  return state_->pages.find(request);
}

// The receipt of entry `index` as it was when it became a page, checked against the entry; an empty
// text if the entry is no page.
Result<ReceiptFile> ReceiptLog::State::restore(u64 index, std::string_view document) {
  if (index >= pages.size()) return corrupt(index, "is not there");
  TG_ASSIGN(PageRecord before, record_before(index));
  TG_ASSIGN(PageRecord own, pages.read(index));
  TG_ASSIGN(std::string entry, log.entry(index));
  ReceiptFile file;
  if (own.request == 0) {
    if (entry != document_entry(hasher, document)) return corrupt(index, "is another document's");
    return file;
  }
  std::optional<Draft> page = as_page(document, before);
  if (!page) return corrupt(index, "is a page, its document is no draft");
  file.receipt = std::move(page->receipt);
  file.text = to_text(file.receipt);
  file.salt = page->salt;
  if (entry != page_entry(hasher, file.receipt, file.text))
    return corrupt(index, "is another receipt's");
  return file;
}

Result<std::string> ReceiptLog::receipt_file(u64 index, std::string_view document) {
  TG_ASSIGN(ReceiptFile file, state_->restore(index, document));
  if (file.text.empty()) return std::string(document);
  TG_ASSIGN(file.proof, state_->log.inclusion(index));
  file.proof.extra.assign(file.salt.begin(), file.salt.end());
  return to_text(file);
}

Status ReceiptLog::check_document(u64 index, std::string_view document) {
  TG_ASSIGN([[maybe_unused]] ReceiptFile file, state_->restore(index, document));
  return {};
}

}  // namespace tg::meter
