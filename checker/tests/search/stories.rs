//! Histories that were once judged wrongly, or that a rule of the search is there for: small, with
//! their stories.

use rusd_checker::model::append::{AppendOp, AppendRet, AppendString};
use rusd_checker::model::cas_register::{CasOp, CasRegister, CasRet};
use rusd_checker::search::{Calls, Engine, Model, Options, Recorder, check};

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
