// The state machine against the text tables in cases/, and what tables say badly: look-ups,
// statements, effects, rebuilding from damaged entries.
#include "ledger/state_machine.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "base/bytes.h"
#include "ledger/ledger_testing.h"

namespace tg::ledger {
namespace {

// One line of a table: words, and what is expected after "->".
struct Line {
  std::vector<std::string> words;
  std::string expected;
  std::string where;
};

u128 parse_amount(const std::string& text) {
  constexpr u128 kMax = ~u128{0};
  if (text == "max") return kMax;
  if (text.rfind("max-", 0) == 0) return kMax - std::stoull(text.substr(4));
  return std::stoull(text);
}

u128 id_of(const std::string& word) {
  return word == "0" ? 0 : id_from_name(word);
}

class Table {
 public:
  void run(const Line& line) {
    const std::string& verb = line.words[0];
    if (verb == "case") return start(line);
    if (verb == "transfer") return transfer(line);
    ASSERT_TRUE(verb == "end" || batch_.empty()) << line.where << ": inside a chain";
    if (verb == "end") return flush();
    if (verb == "account") return account(line);
    if (verb == "balance") return balance(line);
    if (verb == "hold") return hold(line);
    number(line);
    check();
  }
  // Every case ends with a rebuild from its journal.
  void check() {
    ASSERT_TRUE(check_sums(machine_).ok()) << where_;
    StateMachine copy;
    Status rebuilt = rebuild(machine_, copy);
    ASSERT_TRUE(rebuilt.ok()) << where_ << ": " << rebuilt.error().message;
    ASSERT_EQ(difference(machine_, copy), "") << where_;
  }

 private:
  void start(const Line& line) {
    where_ = line.where;
    machine_ = StateMachine();
    now_ = Timestamp{1'000'000'000'000};
  }

  static std::map<std::string, std::string> options(const Line& line, std::size_t from) {
    std::map<std::string, std::string> out;
    for (std::size_t i = from; i < line.words.size(); ++i) {
      std::size_t equals = line.words[i].find('=');
      out[line.words[i].substr(0, equals)] =
          equals == std::string::npos ? "" : line.words[i].substr(equals + 1);
    }
    return out;
  }
  template <typename T>
  static void take(std::map<std::string, std::string>& from, const char* key, T& to) {
    auto found = from.find(key);
    if (found == from.end()) return;
    to = static_cast<T>(std::stoull(found->second));
    from.erase(found);
  }
  static void take_flag(std::map<std::string, std::string>& from, const char* key, u16 bit,
                        u16& flags) {
    if (from.erase(key) != 0) flags = static_cast<u16>(flags | bit);
  }

  void account(const Line& line) {
    Account a = test_account(id_of(line.words[1]));
    std::map<std::string, std::string> rest = options(line, 2);
    take(rest, "bits", a.flags);
    take(rest, "owner", a.owner);
    take(rest, "expires", a.expires_ns);
    take(rest, "ledger", a.ledger);
    take(rest, "product", a.product);
    take(rest, "code", a.code);
    take(rest, "balance", a.credits_posted);
    take_flag(rest, "debits", account_flag::kDebitsMustNotExceedCredits, a.flags);
    take_flag(rest, "credits", account_flag::kCreditsMustNotExceedDebits, a.flags);
    take_flag(rest, "closed", account_flag::kClosed, a.flags);
    ASSERT_TRUE(rest.empty()) << line.where << ": unknown word " << rest.begin()->first;
    EXPECT_EQ(name(machine_.create_account(a, now_)), line.expected) << line.where;
  }

  void transfer(const Line& line) {
    ASSERT_GE(line.words.size(), 5u) << line.where;
    Transfer t = test_transfer(id_of(line.words[1]), id_of(line.words[2]), id_of(line.words[3]),
                               parse_amount(line.words[4]));
    t.code = 1;
    std::map<std::string, std::string> rest = options(line, 5);
    if (rest.count("of") != 0) t.pending_id = id_of(rest["of"]);
    rest.erase("of");
    take(rest, "bits", t.flags);
    take(rest, "timeout", t.timeout_ms);
    take(rest, "ledger", t.ledger);
    take(rest, "code", t.code);
    take(rest, "correlation", t.correlation);
    take(rest, "reference", t.reference);
    take(rest, "sequence", t.sequence);
    take_flag(rest, "linked", transfer_flag::kLinked, t.flags);
    take_flag(rest, "pending", transfer_flag::kPending, t.flags);
    take_flag(rest, "post", transfer_flag::kPostPending, t.flags);
    take_flag(rest, "void", transfer_flag::kVoidPending, t.flags);
    ASSERT_TRUE(rest.empty()) << line.where << ": unknown word " << rest.begin()->first;
    batch_.push_back(t);
    lines_.push_back(line);
    if ((t.flags & transfer_flag::kLinked) == 0) flush();
  }
  void flush() {
    std::vector<TransferStatus> statuses;
    machine_.apply(batch_, now_, statuses);
    ASSERT_EQ(statuses.size(), lines_.size());
    for (std::size_t i = 0; i < statuses.size(); ++i)
      EXPECT_EQ(name(statuses[i]), lines_[i].expected) << lines_[i].where;
    batch_.clear();
    lines_.clear();
    check();
  }

  void balance(const Line& line) {
    const Account* a = machine_.find_account(id_of(line.words[1]));
    ASSERT_NE(a, nullptr) << line.where;
    std::string given = to_string(a->debits_pending) + " " + to_string(a->debits_posted) + " " +
                        to_string(a->credits_pending) + " " + to_string(a->credits_posted);
    std::string expected;
    for (std::size_t i = 2; i < line.words.size(); ++i)
      expected += (i == 2 ? "" : " ") + to_string(parse_amount(line.words[i]));
    EXPECT_EQ(given, expected) << line.where;
  }
  void hold(const Line& line) {
    EXPECT_EQ(name(machine_.pending_state(id_of(line.words[1]))), line.words[2]) << line.where;
  }
  // Lines about one number or one status.
  void number(const Line& line) {
    const std::string& verb = line.words[0];
    std::string word = line.words.size() > 1 ? line.words[1] : "";
    if (verb == "advance") {
      now_.ns += std::stoll(word) * 1'000'000;
    } else if (verb == "expire") {
      EXPECT_EQ(std::to_string(machine_.expire(now_)), line.expected) << line.where;
    } else if (verb == "release") {
      u16 code = static_cast<u16>(std::stoul(word));
      EXPECT_EQ(std::to_string(machine_.release_open(code, now_)), line.expected) << line.where;
    } else if (verb == "close") {
      EXPECT_EQ(name(machine_.close_account(id_of(word), now_)), line.expected) << line.where;
    } else if (verb == "open") {
      EXPECT_EQ(std::to_string(machine_.pending_count()), word) << line.where;
      EXPECT_EQ(std::to_string(machine_.pending_transfers().size()), word) << line.where;
    } else if (verb == "journal") {
      EXPECT_EQ(std::to_string(machine_.journal_size()), word) << line.where;
    } else {
      FAIL() << line.where << ": unknown verb " << verb;
    }
  }

  StateMachine machine_;
  Timestamp now_;
  std::vector<Transfer> batch_;
  std::vector<Line> lines_;
  std::string where_;
};

std::vector<Line> read_table(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.good()) << path;
  std::vector<Line> lines;
  std::string text;
  for (int number = 1; std::getline(file, text); ++number) {
    std::istringstream in(text);
    Line line{.where = path + ":" + std::to_string(number)};
    bool is_expected = false;
    for (std::string word; in >> word;) {
      if (word == "->") {
        is_expected = true;
      } else if (is_expected) {
        line.expected = word;
      } else {
        line.words.push_back(word);
      }
    }
    if (!line.words.empty()) lines.push_back(line);
  }
  return lines;
}

class Cases : public testing::TestWithParam<const char*> {};

TEST_P(Cases, Table) {
  Table table;
  std::string path = std::string(TG_SOURCE_DIR) + "/src/ledger/cases/" + GetParam();
  std::vector<Line> lines = read_table(path);
  ASSERT_GT(lines.size(), 10u);
  for (const Line& line : lines) {
    table.run(line);
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Ledger, Cases,
                         testing::Values("accounts.txt", "single.txt", "two_phase.txt",
                                         "chains.txt"));

constexpr Timestamp kNow{1'000'000'000};

TEST(StateMachine, StatementPagesBackwards) {
  StateMachine machine;
  for (u128 id = 1; id <= 3; ++id) machine.create_account(test_account(id), kNow);
  std::vector<TransferStatus> statuses;
  // Odd ones concern account 1, on alternating sides; the others do not.
  for (u128 i = 1; i <= 20; ++i) {
    Transfer t = i % 2 == 0   ? test_transfer(i, 2, 3, i)
                 : i % 4 == 1 ? test_transfer(i, 1, 2, i)
                              : test_transfer(i, 3, 1, i);
    machine.apply({&t, 1}, kNow, statuses);
  }
  std::vector<u64> positions;
  StatementQuery query{.account = 1, .limit = 3};
  int pages = 0;
  do {
    Statement page = machine.statement(query);
    for (const StatementLine& line : page.lines) positions.push_back(line.position);
    query.before = page.next_before;
    ++pages;
  } while (query.before != 0);
  EXPECT_EQ(positions, (std::vector<u64>{19, 17, 15, 13, 11, 9, 7, 5, 3, 1}));
  EXPECT_EQ(pages, 4);
  // A position that is not the account's own is as good.
  Statement page = machine.statement({.account = 1, .before = 8, .limit = 2});
  ASSERT_EQ(page.lines.size(), 2u);
  EXPECT_EQ(page.lines[0].position, 7u);
  EXPECT_EQ(page.next_before, 5u);
  EXPECT_TRUE(machine.statement({.account = 9}).lines.empty());
  EXPECT_TRUE(machine.statement({.account = 1, .before = 1}).lines.empty());
}

TEST(StateMachine, EffectsAreWhatChanged) {
  StateMachine machine;
  Effects effects;
  for (u128 id = 1; id <= 3; ++id) machine.create_account(test_account(id), kNow);
  machine.take_effects(effects);
  EXPECT_EQ(effects.accounts.size(), 3u);
  EXPECT_TRUE(effects.accounts[2].is_new);
  EXPECT_EQ(effects.accounts[2].number, 3u);
  std::vector<Transfer> batch{test_transfer(1, 1, 2, 5), test_transfer(2, 1, 9, 5)};
  std::vector<TransferStatus> statuses;
  machine.apply(batch, kNow, statuses);
  machine.take_effects(effects);
  ASSERT_EQ(effects.accounts.size(), 2u);
  EXPECT_FALSE(effects.accounts[0].is_new);
  EXPECT_EQ(effects.position_first, 1u);
  ASSERT_EQ(effects.entries.size(), 2u);
  EXPECT_EQ(effects.entries[1].kind, EntryKind::kFailedId);
  EXPECT_EQ(effects.entries[1].status, TransferStatus::kCreditAccountNotFound);
  machine.take_effects(effects);
  EXPECT_TRUE(effects.empty());
  EXPECT_TRUE(machine.id_has_failed(2));
  EXPECT_FALSE(machine.find_transfer(2).has_value());
  EXPECT_TRUE(machine.find_transfer(1)->amount == 5);
}

TEST(StateMachine, TimeNeverRunsBackwards) {
  StateMachine machine;
  machine.create_account(test_account(1), Timestamp{500});
  machine.create_account(test_account(2), Timestamp{400});
  EXPECT_EQ(machine.find_account(2)->timestamp_ns, 500);
  std::vector<TransferStatus> statuses;
  Transfer t = test_transfer(1, 1, 2, 5);
  machine.apply({&t, 1}, Timestamp{1}, statuses);
  EXPECT_EQ(machine.find_transfer(1)->timestamp_ns, 500);
}

// Each damage to one stored entry is refused with an error, never believed, never a crash.
TEST(StateMachine, RestoreRefusesContradictions) {
  struct Damage {
    const char* what;
    void (*damage)(JournalEntry&);
  };
  const Damage kDamages[] = {
      {"debit_account_not_found", [](JournalEntry& e) { e.transfer.debit_account = 77; }},
      {"amount_must_not_be_zero", [](JournalEntry& e) { e.transfer.amount = 0; }},
      {"exceeds_credits", [](JournalEntry& e) { e.transfer.amount = 11; }},
      {"wrong_ledger", [](JournalEntry& e) { e.transfer.ledger = 9; }},
      {"exists", [](JournalEntry& e) { e.transfer.id = 1; }},
      {"reserved_flag", [](JournalEntry& e) { e.transfer.flags = 0x8000; }},
      {"timestamp", [](JournalEntry& e) { e.transfer.timestamp_ns = 3; }},
      {"timestamp", [](JournalEntry& e) { e.transfer.timestamp_ns = INT64_MAX; }},
      {"stored status", [](JournalEntry& e) { e.status = TransferStatus::kExceedsCredits; }},
      {"stored status", [](JournalEntry& e) { e.kind = EntryKind::kFailedId; }},
      {"reserved_flag", [](JournalEntry& e) { e.kind = EntryKind::kRelease; }},
      {"pending_not_found",
       [](JournalEntry& e) {
         e.transfer.flags = transfer_flag::kPostPending;
         e.transfer.pending_id = 5;
       }},
      {"not_pending",
       [](JournalEntry& e) {
         e.kind = EntryKind::kRelease;
         e.transfer.flags = transfer_flag::kVoidPending;
         e.transfer.pending_id = 1;
       }},
  };
  for (const Damage& damage : kDamages) {
    StateMachine machine;
    ASSERT_TRUE(machine.restore_account(test_account(1)).ok());
    ASSERT_TRUE(
        machine.restore_account(test_account(2, account_flag::kDebitsMustNotExceedCredits)).ok());
    JournalEntry first{.transfer = test_transfer(1, 1, 2, 10)};
    first.transfer.timestamp_ns = 5;
    ASSERT_TRUE(machine.restore_entry(first).ok());
    JournalEntry second{.transfer = test_transfer(2, 2, 1, 10)};
    second.transfer.timestamp_ns = 5;
    damage.damage(second);
    Status status = machine.restore_entry(second);
    ASSERT_FALSE(status.ok()) << damage.what;
    EXPECT_EQ(status.error().code, Code::kCorrupt);
    EXPECT_NE(status.error().message.find(damage.what), std::string::npos)
        << status.error().message;
  }
}

TEST(StateMachine, RestoreRefusesDamagedAccounts) {
  StateMachine machine;
  Account account = test_account(1);
  account.timestamp_ns = -1;
  EXPECT_FALSE(machine.restore_account(account).ok());
  account.timestamp_ns = INT64_MAX;
  EXPECT_FALSE(machine.restore_account(account).ok());
  account.timestamp_ns = 5;
  EXPECT_TRUE(machine.restore_account(account).ok());
  EXPECT_FALSE(machine.restore_account(account).ok());
}

TEST(Ids, TextAndBack) {
  EXPECT_EQ(to_hex(u128{0xABC}), "00000000000000000000000000000abc");
  EXPECT_TRUE(parse_id("00000000000000000000000000000ABC").value() == 0xABCu);
  EXPECT_TRUE(parse_id("abc").value() == 0xABCu);
  EXPECT_TRUE(parse_id(to_hex(~u128{0})).value() == ~u128{0});
  for (const char* bad : {"", "0x1", "g", "000000000000000000000000000000abc", "-1", " 1"})
    EXPECT_FALSE(parse_id(bad).ok()) << bad;
}

TEST(Ids, TimeOrderedIdsAreOrderedAndDistinct) {
  SeededRandom random(1);
  u128 early = time_ordered_id(Timestamp{1'000'000'000}, random);
  u128 late = time_ordered_id(Timestamp{1'001'000'000}, random);
  EXPECT_TRUE(early < late);
  EXPECT_TRUE(early >> 80 == 1000);
  EXPECT_TRUE(time_ordered_id(Timestamp{}, random) != time_ordered_id(Timestamp{}, random));
}

TEST(IdIndex, AgreesWithAMap) {
  IdIndex index;
  std::map<u64, u32> model;
  std::vector<u128> ids(1, 0);
  SeededRandom random(7);
  for (int step = 0; step < 200'000; ++step) {
    u64 id = 1 + random.below(3000);
    auto id_of_value = [&](u32 value) { return ids[value]; };
    auto known = model.find(id);
    ASSERT_EQ(index.find(id, id_of_value), known == model.end() ? 0 : known->second);
    if (known == model.end()) {
      ids.push_back(id);
      model[id] = static_cast<u32>(ids.size() - 1);
      index.insert(id, model[id]);
    } else if (random.below(2) == 0) {
      index.erase(id, known->second);
      model.erase(known);
    }
  }
  EXPECT_EQ(index.size(), model.size());
}

}  // namespace
}  // namespace tg::ledger
