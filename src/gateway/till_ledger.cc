// The till and the ledger: what it asks, what the answers change, and a ledger that is away.
#include <algorithm>

#include "base/bytes.h"
#include "base/log.h"
#include "gateway/till.h"

namespace tg::gateway {

using market::Chain;
using market::EndCause;
using market::RequestLife;

namespace {

// A ledger that is away is asked again after this long, then after twice as long, up to the second;
// everything that waits for it at once.
constexpr i64 kAskAgainNsMin = 100'000'000;
constexpr i64 kAskAgainNsMax = 1'000'000'000;
constexpr u32 kSweepAttemptsMax = 8;
constexpr u32 kLooksMax = 4;

// Every account that the chain or the holds it resolves touch.
std::vector<u128> accounts_in(const Chain& chain, std::span<const market::HeldPart> parts) {
  std::vector<u128> out;
  auto add = [&](u128 id) {
    if (id != 0 && std::find(out.begin(), out.end(), id) == out.end()) out.push_back(id);
  };
  for (const market::HeldPart& part : parts) add(part.account);
  for (const ledger::Transfer& t : chain) add(t.debit_account);
  return out;
}

// What a crash lets go of.
bool only_holds(const Chain& chain) {
  return std::all_of(chain.begin(), chain.end(), [](const ledger::Transfer& t) {
    return t.code == ledger::transfer_code::kHold &&
           (t.flags & ledger::transfer_flag::kPending) != 0;
  });
}

}  // namespace

void Till::send(Sent sent, Output& out) {
  u64 tag = tag_next_++;
  sent.request.tag = tag;
  funds_.add(sent.growth);
  out.requests.push_back(sent.request);
  sent_.emplace(tag, std::move(sent));
}

Till::Sent Till::take_out(Sents::iterator found) {
  Sent sent = std::move(found->second);
  sent_.erase(found);
  funds_.remove(sent.growth);
  if (sent.needed == 0) return sent;
  auto needs = needs_.find(sent.payer);
  TG_ASSERT(needs != needs_.end() && needs->second >= sent.needed);
  needs->second -= sent.needed;
  if (needs->second == 0) needs_.erase(needs);
  return sent;
}

void Till::send_chain(Run& run, Chain chain, Timestamp now, Output& out) {
  Sent sent{.purpose = Purpose::kChain, .run = run.id};
  run.is_sent = true;
  const RequestLife& life = *run.life;
  sent.growth = funds_.growth(chain, life.parts());
  sent.request.lookups = accounts_in(chain, life.parts());
  // The last chain carries the receipt; a slice that posts carries the one that a crash would
  // leave.
  bool is_last = life.is_settling() && run.closer;
  if (is_last || life.posting() > 0) {
    Result<meter::Draft> made = draft(run, now);
    if (!made.ok()) {
      log_error("cashier", "request {}: {}", to_hex(run.id), made.error().message);
    } else if (is_last) {
      sent.request.documents.push_back({.id = run.id, .bytes = meter::to_text(*made)});
    } else {
      sent.request.documents.push_back({.id = market::slice_document_id(run.id, life.slices()),
                                        .bytes = market::slice_document(*made)});
    }
  }
  sent.request.is_provisional =
      run.open().is_whole && sent.request.documents.empty() && only_holds(chain);
  sent.request.transfers = std::move(chain);
  send(std::move(sent), out);
}

// What it needs now: to begin, or for its next slice.
i64 Till::wanted_by(const Run& run) {
  if (!run.life) return 0;
  const RequestLife& life = *run.life;
  const market::RequestRate& rate = life.rate();
  i64 most = std::min(rate.most(rate.output_max()), life.terms().max_cost);
  if (run.is_granted()) return std::clamp<i64>(most - life.authorised(), 0, life.terms().slice_min);
  if (life.terms().mode == market::HoldMode::kGuaranteed) return most;
  return std::min(rate.most(std::min<i64>(1, rate.output_max())), most);
}

// Of a share, others may have taken what was brought: one look is not believed yet.
bool Till::may_look(Run& run) const {
  if (run.is_fresh) return false;
  ++run.looks;
  return true;
}

void Till::look_up(Run& run, Purpose purpose, Output& out) {
  Sent sent{.purpose = purpose, .run = run.id, .payer = run.open().account};
  sent.needed = static_cast<u128>(wanted_by(run));
  if (sent.needed > 0) sent.wanted = needs_[sent.payer] += sent.needed;
  sent.request.lookups = funds_.accounts_of(run.open().account, desk_.funds_ledger());
  for (AccountRef budget : run.open().budgets) sent.request.lookups.push_back(budget);
  if (sent.request.lookups.size() > static_cast<std::size_t>(ledger::kRequestEventsMax))
    sent.request.lookups.resize(static_cast<std::size_t>(ledger::kRequestEventsMax));
  send(std::move(sent), out);
}

void Till::complete(const ledger::Reply& reply, Timestamp now, Output& out) {
  Sents::iterator found = sent_.find(reply.tag);
  TG_ASSERT(found != sent_.end());
  if (reply.error) return postpone(found, *reply.error, now, out);
  if (is_away_) log_info("cashier", "the ledger is back; {} requests wait for it", sent_.size());
  is_away_ = false;
  Sent done = take_out(found);
  for (const std::optional<ledger::Account>& account : reply.lookups) {
    if (account) funds_.learn(*account);
  }
  if (done.purpose == Purpose::kSweep) return complete_sweep(done, reply, now, out);
  complete_run(std::move(done), reply, now, out);
}

void Till::complete_run(Sent sent, const ledger::Reply& reply, Timestamp now, Output& out) {
  auto found = runs_.find(sent.run);
  if (found == runs_.end()) return;
  Run& run = found->second;
  switch (sent.purpose) {
    case Purpose::kFetch: {
      const HoldOpen& what = run.open();
      if (!funds_.knows(what.account))
        return refuse(run, with_status(BillingReply::Status::kNotFound), out);
      for (AccountRef budget : what.budgets) {
        if (!funds_.knows(budget))
          return refuse(run, failed("no budget account " + to_hex(budget)), out);
      }
      // Of a share, nobody knew how much to bring.
      run.is_fresh = !options_.is_leased;
      return begin(run, now, out);
    }
    case Purpose::kRefresh: {
      run.is_fresh = !options_.is_leased || run.looks >= kLooksMax;
      if (!run.is_answered && run.life->is_closed()) return begin(run, now, out);
      return proceed(run, run.life->tick(view(run, now)), now, out);
    }
    case Purpose::kChain: {
      bool has_receipt = !sent.request.documents.empty() && sent.request.documents[0].id == run.id;
      run.is_filed = has_receipt && reply.succeeded();
      Chain chain = run.life->answer(reply.transfers, view(run, now));
      return proceed(run, std::move(chain), now, out);
    }
    case Purpose::kFile: {
      if (reply.succeeded()) {
        run.is_filed = true;
        return answer_closed(run, out);
      }
      answer(*run.closer, failed(reply.failure()), out);
      return forget(run.id);
    }
    case Purpose::kSweep: return;
  }
}

void Till::postpone(Sents::iterator found, const Error& error, Timestamp now, Output& out) {
  bool is_away = error.code == Code::kUnavailable;
  if (!is_away && found->second.purpose == Purpose::kRefresh) return go_without(found, now, out);
  if (is_away && !is_away_) {
    is_away_ = true;
    ask_again_after_ns_ = kAskAgainNsMin;
    ask_again_ns_ = now.ns + kAskAgainNsMin;
    log_warn("cashier", "the ledger is away; {} requests wait for it: {}", sent_.size(),
             error.message);
  }
  auto run = runs_.find(found->second.run);
  bool is_new = run != runs_.end() && !run->second.is_answered;
  bool may_hold = found->second.purpose == Purpose::kChain;
  bool is_wanted = run != runs_.end() || found->second.purpose == Purpose::kSweep;
  if (!is_away || !is_wanted || (is_new && !may_hold)) return give_up(found, out);
  found->second.is_out = false;
  if (is_new) let_go(run->second, now, out);
}

// What a run under way holds is all that it gets; its own ledger has not failed.
void Till::go_without(Sents::iterator found, Timestamp now, Output& out) {
  auto of = runs_.find(found->second.run);
  if (of == runs_.end() || !of->second.is_granted()) return give_up(found, out);
  take_out(found);
  of->second.is_fresh = true;
  proceed(of->second, of->second.life->tick(view(of->second, now)), now, out);
}

// Nobody is kept waiting for a ledger that is away. What it was asked to hold it may hold all the
// same: the chain goes on until that is known, and then ends.
void Till::let_go(Run& run, Timestamp now, Output& out) {
  answer(run.opener, failed(kAway), out);
  run.is_answered = true;
  run.is_refused = true;
  Chain none = run.life->finish(
      {.input = {.prompt = run.open().prompt_tokens}, .cause = EndCause::kRefused}, view(run, now));
  TG_ASSERT(none.empty());
}

// What was held lapses by itself; what was not posted charges nobody.
void Till::give_up(Sents::iterator found, Output& out) {
  Sent sent = take_out(found);
  auto of = runs_.find(sent.run);
  if (of == runs_.end()) return;
  Run& run = of->second;
  if (run.is_granted())
    log_error("cashier", "request {} could not be settled: the ledger does not take it",
              to_hex(run.id));
  if (run.closer) {
    answer(*run.closer, failed(kAway), out);
  } else if (!run.is_answered) {
    answer(run.opener, failed(kAway), out);
  } else if (run.is_granted()) {
    // Its holder is told, and closes it in vain.
    BillingReply reply;
    reply.hold = run.id;
    reply.notice = {.run = run.open().run, .is_final = true, .is_lost = true};
    reply.is_notice = true;
    out.answers.push_back({run.opener.reply_to, std::move(reply)});
  }
  forget(run.id);
}

// An error is never an answer, so what is sent again cannot be done twice.
void Till::retry(Timestamp now, Output& out) {
  bool is_over = now.ns >= asks_until_ns_;
  if (!is_over && is_away_ && now.ns < ask_again_ns_) return;
  bool has_asked = false;
  for (Sents::iterator next = sent_.begin(); next != sent_.end();) {
    Sents::iterator sent = next++;
    if (sent->second.is_out) continue;
    if (is_over) {
      give_up(sent, out);
      continue;
    }
    sent->second.is_out = true;
    has_asked = true;
    out.requests.push_back(sent->second.request);
  }
  if (is_away_ && has_asked) wait_longer(now);
}

void Till::wait_longer(Timestamp now) {
  ask_again_after_ns_ = std::min(2 * ask_again_after_ns_, kAskAgainNsMax);
  ask_again_ns_ = now.ns + ask_again_after_ns_;
}

void Till::sweep(Timestamp now, Output& out) {
  for (const SweepName& due : funds_.due(now)) {
    Sent sent{.purpose = Purpose::kSweep, .sweep = due};
    sent.request.transfers = funds_.sweep_chain(options_.books, due);
    sent.request.lookups = {due.account};
    if (!sent.request.transfers.empty()) send(std::move(sent), out);
  }
}

void Till::complete_sweep(const Sent& sent, const ledger::Reply& reply, Timestamp, Output& out) {
  market::Verdict verdict = market::judge(reply.transfers);
  if (verdict == market::Verdict::kDone) return;
  const SweepName& name = sent.sweep;
  if (verdict == market::Verdict::kFailed || name.attempt + 1 == kSweepAttemptsMax) {
    log_error("cashier", "account {}: {} {} failed: {}", to_hex(name.account),
              name.is_refill ? "refill" : "expiry", name.number, reply.failure());
    return;
  }
  Sent again{.purpose = Purpose::kSweep, .sweep = name};
  ++again.sweep.attempt;
  again.request.transfers = funds_.sweep_chain(options_.books, again.sweep);
  again.request.lookups = {name.account};
  if (!again.request.transfers.empty()) send(std::move(again), out);
}

}  // namespace tg::gateway
