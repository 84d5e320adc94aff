//! A model of stateright's that keeps its history in our tester: servers that each hold a copy of
//! a register and tell nobody of writes. One is linearizable, two are not, and our tester and
//! stateright's find the same states.

use std::borrow::Cow;
use std::fmt::Debug;
use std::hash::Hash;

use rusd_checker::search::WglTester;
use stateright::actor::register::{RegisterActor, RegisterMsg};
use stateright::actor::{Actor, ActorModel, Id, Network, Out};
use stateright::semantics::register::Register;
use stateright::semantics::{ConsistencyTester, LinearizabilityTester};
use stateright::{Checker, Expectation, Model};

/// A server that holds a value.
#[derive(Clone)]
struct Holder;

impl Actor for Holder {
    type Msg = RegisterMsg<u64, char, ()>;
    type State = char;
    type Timer = ();
    type Random = ();
    type Storage = ();

    fn on_start(&self, _: Id, _: &Option<()>, _: &mut Out<Self>) -> char {
        '-'
    }

    fn on_msg(
        &self,
        _: Id,
        value: &mut Cow<'_, char>,
        client: Id,
        message: Self::Msg,
        out: &mut Out<Self>,
    ) {
        match message {
            RegisterMsg::Put(request, new) => {
                *value.to_mut() = new;
                out.send(client, RegisterMsg::PutOk(request));
            }
            RegisterMsg::Get(request) => out.send(client, RegisterMsg::GetOk(request, **value)),
            RegisterMsg::PutOk(_) | RegisterMsg::GetOk(..) | RegisterMsg::Internal(()) => {}
        }
    }
}

/// Two clients that write and then read, each on any server; how many states there are, and
/// whether some history is not linearizable.
fn explore<H>(servers: usize, history: H) -> (usize, bool)
where
    H: ConsistencyTester<Id, Register<char>>
        + Clone
        + Debug
        + Hash
        + PartialEq
        + Send
        + Sync
        + 'static,
{
    let client = RegisterActor::Client { put_count: 1, server_count: servers };
    let checker = ActorModel::new((), history)
        .actors(vec![RegisterActor::Server(Holder); servers])
        .actors(vec![client; 2])
        .init_network(Network::new_unordered_nonduplicating([]))
        .property(Expectation::Always, "linearizable", |_, state| state.history.is_consistent())
        .record_msg_in(RegisterMsg::record_returns)
        .record_msg_out(RegisterMsg::record_invocations)
        .checker()
        .spawn_dfs()
        .join();
    (checker.unique_state_count(), checker.discovery("linearizable").is_some())
}

#[test]
fn a_model_is_explored_with_our_tester_as_with_stateright_s() {
    for (servers, is_broken) in [(1, false), (2, true)] {
        let theirs = explore(servers, LinearizabilityTester::new(Register('-')));
        let ours = explore(servers, WglTester::new(Register('-')));
        assert_eq!(ours, theirs, "{servers} servers");
        assert_eq!(ours.1, is_broken, "{servers} servers");
        assert!(ours.0 > 10, "{servers} servers: only {} states", ours.0);
    }
}
