#include "gpunn/core/detail/access_history.h"

#include <algorithm>

#include "gpunn/core/error.h"

namespace gpunn::detail {
namespace {

/// The earliest failure among them, or null.
const Outcome* earliest(const AccessHistory& history, const Outcome* other = nullptr) noexcept {
  for (const auto& o : history.outcomes)
    if (o->failed() && (!other || o->number() < other->number())) other = o.get();
  return other;
}

[[noreturn]] void throw_unnamed() {
  throw Error(where() + "work that this depends on has failed, and there was no memory to note how");
}

}  // namespace

// Keeps the list equal to the histories that have something to say.
void FailureList::update(AccessHistory& h) noexcept {
  const bool wanted = h.unnamed || !h.outcomes.empty();
  if (wanted == h.listed) return;
  h.listed = wanted;
  if (wanted) {
    h.next = first_;
    if (first_) first_->previous = &h;
    first_ = &h;
    return;
  }
  (h.previous ? h.previous->next : first_) = h.next;
  if (h.next) h.next->previous = h.previous;
  h.previous = h.next = nullptr;
}

void FailureList::depend(AccessHistory& h, const std::shared_ptr<Outcome>& outcome) noexcept {
  if (std::find(h.outcomes.begin(), h.outcomes.end(), outcome) != h.outcomes.end()) return;
  try {
    h.outcomes.push_back(outcome);
  } catch (...) {
    h.unnamed = true;
  }
  update(h);
}

void FailureList::fail_unnamed(AccessHistory& h) noexcept {
  h.unnamed = true;
  update(h);
}

void FailureList::inherit(std::span<Storage* const> from, std::span<Storage* const> writes) noexcept {
  for (const Storage* source : from) {
    const AccessHistory* const history = source->history;
    if (!history || !history->listed) continue;
    for (const Storage* written : writes) {
      AccessHistory& to = *written->history;
      if (&to == history) continue;
      for (const auto& outcome : history->outcomes)
        if (!outcome->succeeded()) depend(to, outcome);
      if (history->unnamed) fail_unnamed(to);
    }
  }
}

void FailureList::clear(AccessHistory& h) noexcept {
  h.outcomes.clear();
  h.unnamed = false;
  update(h);
}

bool FailureList::failed(AccessHistory& h) noexcept {
  std::erase_if(h.outcomes, [](const auto& outcome) { return outcome->succeeded(); });
  update(h);
  return h.unnamed || earliest(h);
}

void FailureList::rethrow(AccessHistory& h) {
  if (!failed(h)) return;
  if (const Outcome* outcome = earliest(h)) outcome->rethrow();
  throw_unnamed();
}

void FailureList::rethrow_first() const {
  const Outcome* found = nullptr;
  bool unnamed = false;
  for (const AccessHistory* h = first_; h; h = h->next) {
    found = earliest(*h, found);
    unnamed |= h->unnamed;
  }
  if (found) found->rethrow();
  if (unnamed) throw_unnamed();
}

}  // namespace gpunn::detail
