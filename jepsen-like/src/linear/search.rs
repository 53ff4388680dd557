//! The search for an order: Wing & Gong's, with Lowe's memory of where it was before.
//!
//! Calls and answers stand in a list, in the order of the history. Whatever call stands before the first
//! answer may be the next in the order; it is taken out of the list with its answer, and the search goes on
//! from the front. At an answer whose call is still there, the last choice was wrong and is taken back. An
//! indeterminate call has no answer: it may be taken at any time, or never.

use std::collections::HashSet;

use super::job::{Call, Job};

/// After so many states it is given up.
const STATES_MAX: usize = 200_000;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// There is one.
    Found,
    /// There is none. The answer, by its call's place in the slice, that stood in the way when most had
    /// been put in order.
    None { blocked: usize },
    /// There may be one: too many were tried.
    Unknown,
}

/// What stands in the list.
#[derive(Debug, Clone, Copy)]
struct Entry {
    call: usize,
    is_answer: bool,
    before: usize,
    after: usize,
}

/// The list: linked both ways, so that what was taken out can be put back. Entry 0 is its head.
struct List(Vec<Entry>);

const HEAD: usize = 0;

impl List {
    fn of(calls: &[Call]) -> Self {
        let mut places: Vec<(u64, usize, bool)> = calls
            .iter()
            .enumerate()
            .flat_map(|(call, Call { invoked, answered, .. })| {
                let answer = answered.map(|place| (place, call, true));
                [Some((*invoked, call, false)), answer].into_iter().flatten()
            })
            .collect();
        places.sort_unstable_by_key(|(place, call, is_answer)| (*place, *is_answer, *call));
        let last = places.len();
        let head =
            Entry { call: usize::MAX, is_answer: false, before: last, after: 1 % (last + 1) };
        let entries = places.into_iter().zip(1..).map(|((_, call, is_answer), at): (_, usize)| {
            Entry { call, is_answer, before: at - 1, after: if at == last { HEAD } else { at + 1 } }
        });
        Self(std::iter::once(head).chain(entries).collect())
    }

    fn take_out(&mut self, at: usize) {
        let Entry { before, after, .. } = self.0[at];
        self.0[before].after = after;
        self.0[after].before = before;
    }

    fn put_back(&mut self, at: usize) {
        let Entry { before, after, .. } = self.0[at];
        self.0[before].after = at;
        self.0[after].before = at;
    }
}

/// Which calls have been put in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Ordered(Box<[u64]>);

impl Ordered {
    fn none_of(calls: usize) -> Self {
        Self(vec![0; calls.div_ceil(64)].into())
    }

    fn flip(&mut self, call: usize) {
        self.0[call / 64] ^= 1 << (call % 64);
    }
}

/// Looks for an order of the calls on one job.
pub(crate) fn search(calls: &[Call]) -> Order {
    let mut list = List::of(calls);
    let mut answers = vec![HEAD; calls.len()];
    for (at, entry) in list.0.iter().enumerate().skip(1).filter(|(_, entry)| entry.is_answer) {
        answers[entry.call] = at;
    }
    let mut left = answers.iter().filter(|at| **at != HEAD).count();
    let (mut job, mut ordered) = (Job::new(), Ordered::none_of(calls.len()));
    let mut seen = HashSet::new();
    let mut choices: Vec<(usize, Job)> = vec![];
    let (mut most, mut blocked) = (0, 0);
    let mut at = list.0[HEAD].after;
    while left > 0 {
        let Entry { call, is_answer, after, .. } = list.0[at];
        if is_answer {
            if choices.len() >= most {
                (most, blocked) = (choices.len(), call);
            }
            let Some((chosen, before)) = choices.pop() else { return Order::None { blocked } };
            let call = list.0[chosen].call;
            if answers[call] != HEAD {
                list.put_back(answers[call]);
                left += 1;
            }
            list.put_back(chosen);
            ordered.flip(call);
            job = before;
            at = list.0[chosen].after;
            continue;
        }
        let next = job.after(&calls[call]);
        ordered.flip(call);
        if let Some(next) = next
            && seen.insert((ordered.clone(), next))
        {
            if seen.len() > STATES_MAX {
                return Order::Unknown;
            }
            choices.push((at, job));
            job = next;
            list.take_out(at);
            if answers[call] != HEAD {
                list.take_out(answers[call]);
                left -= 1;
            }
            at = list.0[HEAD].after;
        } else {
            ordered.flip(call);
            at = after;
        }
    }
    Order::Found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::linear::job::Did;

    const fn call(did: Did, invoked: u64, answered: u64) -> Call {
        Call { did, invoked, answered: Some(answered), until: answered }
    }

    const fn unknown(did: Did, invoked: u64) -> Call {
        Call { did, invoked, answered: None, until: u64::MAX }
    }

    const fn claim(token: u64) -> Did {
        Did::Claim { token, not_before: 1_000 }
    }

    #[test]
    fn nothing_is_in_order() {
        assert_eq!(search(&[]), Order::Found);
        assert_eq!(search(&[unknown(Did::Create, 1)]), Order::Found);
    }

    #[test]
    fn calls_that_overlap_may_stand_either_way() {
        let calls = [call(Did::FindFree, 1, 4), call(Did::Create, 2, 3), call(claim(5), 5, 6)];
        assert_eq!(search(&calls), Order::Found);
        let one_after_the_other =
            [call(Did::FindFree, 1, 2), call(Did::Create, 3, 4), call(claim(5), 5, 6)];
        assert_eq!(search(&one_after_the_other), Order::None { blocked: 0 });
    }

    #[test]
    fn two_that_both_hold_it_stand_in_no_order() {
        let calls = [
            call(Did::Create, 1, 2),
            call(claim(5), 3, 6),
            call(claim(8), 4, 7),
            call(Did::Complete { token: 8 }, 8, 9),
        ];
        assert!(matches!(search(&calls), Order::None { .. }));
        let given_back = [&calls[..], &[call(Did::Free { token: 5 }, 4, 7)]].concat();
        assert_eq!(search(&given_back), Order::Found);
    }

    #[test]
    fn an_indeterminate_call_explains_what_it_can() {
        let seen = [
            call(Did::Create, 1, 2),
            call(claim(5), 3, 4),
            call(Did::FindCompleted { token: 5 }, 7, 8),
        ];
        assert_eq!(search(&seen), Order::None { blocked: 2 });
        let tried = [&seen[..], &[unknown(Did::Complete { token: 5 }, 6)]].concat();
        assert_eq!(search(&tried), Order::Found);
        let too_late = [&seen[..], &[unknown(Did::Complete { token: 5 }, 9)]].concat();
        assert_eq!(search(&too_late), Order::None { blocked: 2 });
    }

    #[test]
    fn what_had_to_be_tried_too_often_is_unknown() {
        // Each may have been first, and none explains the last answer.
        let mut calls: Vec<Call> = (0..40)
            .map(|token| unknown(Did::Claim { token: token + 1, not_before: 0 }, 2 * token + 1))
            .collect();
        calls.push(unknown(Did::Create, 100));
        calls.push(call(Did::FindCancelled, 101, 102));
        assert_eq!(search(&calls), Order::Unknown);
    }

    /// Tries every order there is.
    fn by_trying_all(job: Job, left: &[Call]) -> bool {
        if left.iter().all(|call| call.answered.is_none()) {
            return true;
        }
        let first_answer = left.iter().filter_map(|call| call.answered).min().unwrap_or(u64::MAX);
        (0..left.len()).any(|place| {
            let next = &left[place];
            let mut rest = left.to_vec();
            rest.remove(place);
            next.invoked < first_answer
                && job.after(next).is_some_and(|after| by_trying_all(after, &rest))
        })
    }

    fn any_did() -> impl Strategy<Value = Did> {
        let token = 1_u64..4;
        prop_oneof![
            Just(Did::Create),
            Just(Did::FindFree),
            Just(Did::CreateOrFind),
            Just(Did::CancelOrFind),
            token.clone().prop_map(|token| Did::CompleteOrFind { token }),
            (token.clone(), 0_u64..40)
                .prop_map(|(token, not_before)| Did::Claim { token, not_before }),
            (token.clone(), 0_u64..40)
                .prop_map(|(token, not_before)| Did::Hold { token, not_before }),
            token.clone().prop_map(|token| Did::Complete { token }),
            token.clone().prop_map(|token| Did::FindCompleted { token }),
            token.clone().prop_map(|token| Did::Free { token }),
            Just(Did::Cancel),
            Just(Did::FindCancelled),
            Just(Did::Retry),
            token.prop_map(|token| Did::FindStale { token }),
        ]
    }

    /// Calls whose places differ, as those of a history do.
    fn any_calls() -> impl Strategy<Value = Vec<Call>> {
        prop::collection::vec((any_did(), 0_u64..12, 1_u64..8, prop::bool::weighted(0.2)), 1..7)
            .prop_map(|drawn| {
                let call =
                    |(number, (did, from, lasts, is_unknown)): (u64, (Did, u64, u64, bool))| {
                        let (invoked, answered) =
                            (from * 16 + number, (from + lasts) * 16 + number + 8);
                        let until = if is_unknown { u64::MAX } else { answered / 8 };
                        Call { did, invoked, answered: (!is_unknown).then_some(answered), until }
                    };
                (0..).zip(drawn).map(call).collect()
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn it_finds_an_order_exactly_when_there_is_one(calls in any_calls()) {
            let found = search(&calls) == Order::Found;
            prop_assert_eq!(found, by_trying_all(Job::new(), &calls));
        }
    }
}
