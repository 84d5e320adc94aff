//! Histories that were once judged wrongly, or that a rule of the search is there for: small, with
//! their stories.

use rusd_checker::model::append::{AppendOp, AppendRet, AppendString};
use rusd_checker::model::cas_register::{CasOp, CasRegister, CasRet};
use rusd_checker::model::register::{Register, RegisterOp, RegisterRet};
use rusd_checker::search::{Calls, Engine, Model, Options, Recorder, WglTester, check};
use stateright::semantics::ConsistencyTester;

/// The verdict of the search.
fn judge<M>(initial: &M, calls: &Calls<M::Op, M::Ret>) -> &'static str
where
    M: Model + Sync,
    M::Op: Sync,
    M::Ret: Sync,
{
    let options = Options { engine: Engine::Wgl, ..Options::default() };
    check(initial, calls, &options).verdict.name()
}

fn append(text: &str) -> AppendOp {
    AppendOp::Append(text.into())
}

fn text(text: &str) -> AppendRet {
    AppendRet::Text(text.into())
}

/// The read that is alone at the beginning gets its place before anything is tried, and tells the
/// state of a quiescent point. The search noticed that only after its first choice, and forgot the
/// other choices with what was before.
#[test]
fn a_quiescent_point_is_noticed_before_the_first_choice() {
    let mut recorder = Recorder::new();
    let alone = recorder.invoke(0, AppendOp::Get);
    recorder.returns(alone, text(""));
    let a = recorder.invoke(1, append("a"));
    let b = recorder.invoke(2, append("b"));
    recorder.returns(a, AppendRet::Done);
    recorder.returns(b, AppendRet::Done);
    let read = recorder.invoke(0, AppendOp::Get);
    recorder.returns(read, text("ba"));
    assert_eq!(judge(&AppendString::default(), &recorder.finish()), "linearizable");
}

/// A write of unknown outcome is of use to the read that finds it, though the write after that
/// read would have led to the same state without it.
#[test]
fn a_use_that_lets_a_read_happen_is_of_use() {
    let mut recorder = Recorder::new();
    recorder.invoke(0, CasOp::Write(1));
    let read = recorder.invoke(1, CasOp::Read);
    recorder.returns(read, CasRet::Value(Some(1)));
    let write = recorder.invoke(1, CasOp::Write(2));
    recorder.returns(write, CasRet::Written);
    assert_eq!(judge(&CasRegister::default(), &recorder.finish()), "linearizable");
}

/// Two writes of one value, read after each has certainly happened: of calls that are the same the
/// one that returns first is the one to place.
#[test]
fn of_equal_calls_the_one_that_returns_first_is_placed() {
    let mut recorder = Recorder::new();
    let first = recorder.invoke(0, CasOp::Write(1));
    let second = recorder.invoke(1, CasOp::Write(1));
    recorder.returns(first, CasRet::Written);
    let other = recorder.invoke(0, CasOp::Write(2));
    recorder.returns(other, CasRet::Written);
    let between = recorder.invoke(0, CasOp::Read);
    recorder.returns(between, CasRet::Value(Some(2)));
    let read = recorder.invoke(0, CasOp::Read);
    recorder.returns(read, CasRet::Value(Some(1)));
    recorder.returns(second, CasRet::Written);
    assert_eq!(judge(&CasRegister::default(), &recorder.finish()), "linearizable");
}

/// A compare-and-set that must find another value than the one that is there needs a write that
/// nobody reads, of unknown outcome, which therefore must not be spent on nothing.
#[test]
fn a_write_that_nobody_reads_can_be_needed_to_leave_a_state() {
    let mut recorder = Recorder::new();
    recorder.invoke(0, CasOp::Write(9));
    let one = recorder.invoke(1, CasOp::Write(1));
    recorder.returns(one, CasRet::Written);
    let refused = recorder.invoke(1, CasOp::Cas(1, 2));
    recorder.returns(refused, CasRet::Differs);
    let calls = recorder.finish();
    assert_eq!(judge(&CasRegister::default(), &calls), "linearizable");
    // Without it there is no other value to be found.
    let known = calls.list()[1..].to_vec();
    let calls = Calls::new(known).expect("positions are as before");
    assert_eq!(judge(&CasRegister::default(), &calls), "illegal");
}

/// The same with a write of known outcome, that may still be open when the compare-and-set is
/// refused: it must not get its place at once only because nobody reads it.
#[test]
fn a_write_that_nobody_reads_is_not_placed_at_once_while_calls_are_refused() {
    let mut recorder = Recorder::new();
    let unread = recorder.invoke(0, CasOp::Write(9));
    let one = recorder.invoke(1, CasOp::Write(1));
    recorder.returns(one, CasRet::Written);
    let refused = recorder.invoke(1, CasOp::Cas(1, 2));
    recorder.returns(refused, CasRet::Differs);
    recorder.returns(unread, CasRet::Written);
    assert_eq!(judge(&CasRegister::default(), &recorder.finish()), "linearizable");
}

/// What was used of unknown outcomes before a quiescent point may be missed after it: the use of "bc"
/// seems right, and only after the put it turns out that the known appends should have been in its
/// place.
#[test]
fn what_was_used_before_a_quiescent_point_is_not_forgotten() {
    let mut recorder = Recorder::new();
    recorder.invoke(0, append("bc"));
    let a = recorder.invoke(1, append("a"));
    let b = recorder.invoke(2, append("b"));
    let c = recorder.invoke(3, append("c"));
    let read = recorder.invoke(4, AppendOp::Get);
    recorder.returns(a, AppendRet::Done);
    recorder.returns(read, text("abc"));
    recorder.returns(b, AppendRet::Done);
    recorder.returns(c, AppendRet::Done);
    let alone = recorder.invoke(1, AppendOp::Put("z".into()));
    recorder.returns(alone, AppendRet::Done);
    let read = recorder.invoke(1, AppendOp::Get);
    recorder.returns(read, text("zbc"));
    assert_eq!(judge(&AppendString::default(), &recorder.finish()), "linearizable");
}

/// A tester is told of calls as they happen: what a thread does after a call of another began comes
/// after that call neither for the one nor for the other.
#[test]
fn a_later_call_of_a_thread_is_not_taken_for_its_earlier_one() {
    let mut tester = WglTester::new(Register::new(Some(1)));
    tester.on_invret(1, RegisterOp::Write(2), RegisterRet::Written).expect("1 is idle");
    tester.on_invoke(2, RegisterOp::Read).expect("2 is idle");
    tester.on_invret(1, RegisterOp::Write(3), RegisterRet::Written).expect("1 is idle");
    let mut old = tester.clone();
    tester.on_return(2, RegisterRet::Value(Some(2))).expect("2 has called");
    assert!(tester.is_consistent());
    old.on_return(2, RegisterRet::Value(Some(1))).expect("2 has called");
    assert!(!old.is_consistent());
}

/// Of unknown outcome are two writes that nobody reads, but one of them writes what a later call is
/// refused by: it cannot stand for the other. The one that is invoked first is used first, and the
/// other is then of no help to both calls at the end.
#[test]
fn a_write_that_is_refused_does_not_stand_for_another() {
    let mut recorder = Recorder::new();
    recorder.invoke(0, CasOp::Write(9));
    recorder.invoke(1, CasOp::Write(8));
    for _ in 0..2 {
        let one = recorder.invoke(2, CasOp::Write(1));
        recorder.returns(one, CasRet::Written);
        let refused = recorder.invoke(2, CasOp::Cas(1, 5));
        recorder.returns(refused, CasRet::Differs);
    }
    let refused = recorder.invoke(2, CasOp::Cas(8, 5));
    recorder.returns(refused, CasRet::Differs);
    assert_eq!(judge(&CasRegister::default(), &recorder.finish()), "linearizable");
}

/// A write of what only a compare-and-set of unknown outcome requires is not one that nobody reads:
/// it must not get its place before another write only because it returns first.
#[test]
fn what_a_call_of_unknown_outcome_requires_is_read() {
    let mut recorder = Recorder::new();
    recorder.invoke(0, CasOp::Cas(1, 2));
    let one = recorder.invoke(1, CasOp::Write(1));
    let three = recorder.invoke(2, CasOp::Write(3));
    recorder.returns(one, CasRet::Written);
    recorder.returns(three, CasRet::Written);
    let read = recorder.invoke(1, CasOp::Read);
    recorder.returns(read, CasRet::Value(Some(2)));
    assert_eq!(judge(&CasRegister::default(), &recorder.finish()), "linearizable");
}

/// While calls are refused, how many writes that nobody reads were used counts: the search first gives
/// the known write of 7 its place too early, and uses up the unknown one for the first refused call;
/// the way that uses none of it leads to the same calls and state, and must still be gone.
#[test]
fn of_writes_that_nobody_reads_it_counts_how_many_are_left() {
    let mut recorder = Recorder::new();
    recorder.invoke(0, CasOp::Write(8));
    let unread = recorder.invoke(1, CasOp::Write(7));
    let one = recorder.invoke(2, CasOp::Write(1));
    recorder.returns(one, CasRet::Written);
    let refused = recorder.invoke(2, CasOp::Cas(1, 5));
    recorder.returns(unread, CasRet::Written);
    recorder.returns(refused, CasRet::Differs);
    let one = recorder.invoke(2, CasOp::Write(1));
    recorder.returns(one, CasRet::Written);
    let refused = recorder.invoke(2, CasOp::Cas(1, 5));
    recorder.returns(refused, CasRet::Differs);
    assert_eq!(judge(&CasRegister::default(), &recorder.finish()), "linearizable");
}

/// A state that is read later may be left if it can be had again: by a compare-and-set of unknown
/// outcome, whose own value a write brings, be its outcome known or not.
#[test]
fn a_state_can_be_had_again_by_two_steps() {
    for is_known in [false, true] {
        let mut recorder = Recorder::new();
        recorder.invoke(0, CasOp::Cas(5, 1));
        if !is_known {
            recorder.invoke(1, CasOp::Write(5));
        }
        for value in [1, 3] {
            let write = recorder.invoke(2, CasOp::Write(value));
            recorder.returns(write, CasRet::Written);
        }
        let read = recorder.invoke(2, CasOp::Read);
        recorder.returns(read, CasRet::Value(Some(3)));
        if is_known {
            let five = recorder.invoke(2, CasOp::Write(5));
            recorder.returns(five, CasRet::Written);
        }
        let read = recorder.invoke(2, CasOp::Read);
        recorder.returns(read, CasRet::Value(Some(1)));
        assert_eq!(judge(&CasRegister::default(), &recorder.finish()), "linearizable");
    }
}

/// A string that cannot grow into what an open call reads may still be replaced by a put of unknown
/// outcome.
#[test]
fn a_string_can_begin_anew_by_a_put_of_unknown_outcome() {
    let mut recorder = Recorder::new();
    recorder.invoke(0, AppendOp::Put("z".into()));
    let read = recorder.invoke(1, AppendOp::Get);
    for own in ["x", "b"] {
        let appended = recorder.invoke(2, append(own));
        recorder.returns(appended, AppendRet::Done);
    }
    recorder.returns(read, text("zb"));
    assert_eq!(judge(&AppendString::default(), &recorder.finish()), "linearizable");
}
