//! A cluster, a fault that is done to it, and clients that see what comes of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusd_checker::history::record::{Put, Range, Request, Response, ResponseBody};
use rusd_checker::history::text::Text;
use rusd_loadgen::client::etcd::Client;
use rusd_loadgen::clock::Clock;
use rusd_loadgen::cluster::{Cluster, ClusterError, Needs, process, readiness};
use rusd_loadgen::nemesis::doctor::Machine;
use rusd_loadgen::nemesis::schedule::{self, Planned};
use rusd_loadgen::nemesis::{Mend, Nemesis};
use rusd_loadgen::recorder::Recorder;
use rusd_loadgen::workload::{Origin, System, Workload};
use tempfile::TempDir;

/// Longest wait for an answer that is to come.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(20);
/// How long no answer must come to count as none.
pub(crate) const SILENCE: Duration = Duration::from_millis(1500);

/// A cluster and its nemesis.
pub(crate) struct Scene {
    pub(crate) cluster: Arc<Cluster>,
    nemesis: Nemesis,
    faults: Vec<Planned>,
    _folder: TempDir,
}

/// A fault that was begun.
pub(crate) struct Broken {
    pub(crate) members: Vec<u32>,
    planned: Planned,
    mend: Mend,
}

impl Broken {
    /// The member of a fault that is done to one.
    pub(crate) fn member(&self) -> u32 {
        self.members[0]
    }
}

pub(crate) fn system() -> System {
    match std::env::var("LOADGEN_E2E_SYSTEM").as_deref() {
        Ok("etcd") => System::Etcd,
        Ok("rusd") | Err(_) => System::Rusd,
        Ok(other) => panic!("LOADGEN_E2E_SYSTEM is {other}: rusd or etcd"),
    }
}

fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("LOADGEN_E2E_BINARY") {
        return PathBuf::from(named);
    }
    let beside = PathBuf::from(env!("CARGO_BIN_EXE_loadgen")).with_file_name("rusd");
    assert!(beside.is_file(), "no rusd at {}: cargo build --bin rusd", beside.display());
    beside
}

impl Scene {
    /// Starts so many members, for the faults of this text. A fault that cannot be done here fails the
    /// test, and says what to do about it.
    pub(crate) async fn start(members: u32, faults: &str) -> Scene {
        Scene::with(members, "", faults).await
    }

    /// The same, with more words about the cluster.
    pub(crate) async fn with(members: u32, cluster: &str, faults: &str) -> Scene {
        let text = format!(
            "duration = \"1h\"\nclients = 1\nkeys = {{ count = 1 }}\nmix = {{ put = 1 }}\n\
             [cluster]\nmembers = {members}\n{cluster}\n{faults}"
        );
        let mut workload = Workload::parse("scene.toml", &text).unwrap();
        workload.cluster.system = system();
        workload.cluster.binary = Some(binary());
        if let Err(error) = workload.validate("scene.toml", &text, Origin::Started) {
            panic!("{error}\n{text}");
        }
        let machine = Machine::look(system(), &binary());
        for fault in workload.every_fault() {
            let kind = *fault.kind.get_ref();
            if let Some(lack) = machine.lacks(kind, fault.how().lose_unsynced) {
                let (kind, system) = (kind.name(), system().name());
                panic!("no {kind} of {system} here: {}; {}", lack.reason, lack.advice);
            }
        }
        process::guard_by(PathBuf::from(env!("CARGO_BIN_EXE_loadgen")));
        let folder = tempfile::tempdir().unwrap();
        let needs = Needs::of(&workload);
        let cluster = Cluster::start_for(&workload.cluster, needs, folder.path()).await.unwrap();
        let cluster = Arc::new(cluster);
        for member in 0..members {
            readiness::ready(&cluster, member).await.unwrap();
        }
        let nemesis = Nemesis::new(Arc::clone(&cluster), Recorder::off(), Clock::start(), 1);
        let faults = schedule::timetable(&workload, 1);
        Scene { cluster, nemesis, faults, _folder: folder }
    }

    /// Does the next fault.
    pub(crate) async fn break_next(&mut self) -> Broken {
        let (broken, done) = self.try_next().await;
        done.unwrap();
        broken
    }

    /// The same, whatever comes of it.
    pub(crate) async fn try_next(&mut self) -> (Broken, Result<(), ClusterError>) {
        let planned = self.faults.remove(0);
        let members = self.nemesis.choose(&planned).await.unwrap().concat();
        let (mend, done) = self.nemesis.begin(&planned, &members).await;
        (Broken { members, planned, mend }, done)
    }

    /// Lets a further fault be done to members that are under one.
    #[cfg(feature = "failpoints")]
    pub(crate) fn let_more_happen_to(&self, broken: &Broken) {
        self.nemesis.release(std::slice::from_ref(&broken.members));
    }

    /// Mends what was broken; every member serves then. Says who came instead.
    pub(crate) async fn mend(&self, broken: Broken) -> Option<u32> {
        let Broken { members, planned, mend } = broken;
        let came = self.nemesis.end(&planned, &members, mend).await.unwrap();
        self.nemesis.release(&[members]);
        for seat in self.cluster.roster().voters() {
            readiness::ready(&self.cluster, seat.member).await.unwrap();
        }
        came
    }

    pub(crate) async fn leader(&self) -> u32 {
        readiness::leader(&self.cluster).await.expect("somebody leads")
    }

    /// A client as those of a run: its link can be broken.
    pub(crate) async fn client(&self, member: u32) -> Client {
        Client::connect(&self.cluster.endpoint(member)).await.unwrap()
    }

    /// A client whose link cannot be broken.
    pub(crate) async fn direct(&self, member: u32) -> Client {
        Client::connect(&self.cluster.direct(member)).await.unwrap()
    }

    /// Puts a key through a member, which must answer; as often as it takes.
    pub(crate) async fn put(&self, member: u32, key: &str, value: &str) -> i64 {
        let putting = async {
            loop {
                if let Ok(client) = Client::connect(&self.cluster.direct(member)).await
                    && let Ok(Ok(response)) =
                        tokio::time::timeout(SILENCE * 4, client.execute(&put(key, value))).await
                {
                    return response.revision;
                }
                // A member tells nobody that it takes puts again; asking without a pause would keep
                // it from its work.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(ANSWER_MAX, putting).await.expect("the member takes a put")
    }

    /// Whether a member answers a linearizable read within [`SILENCE`].
    pub(crate) async fn serves(&self, member: u32) -> bool {
        let reading = async {
            let client = Client::connect(&self.cluster.direct(member)).await.ok()?;
            client.execute(&get("any", false)).await.ok()
        };
        matches!(tokio::time::timeout(SILENCE, reading).await, Ok(Some(_)))
    }

    /// Waits until a member serves.
    pub(crate) async fn must_serve(&self, member: u32) {
        let serving = async { while !self.serves(member).await {} };
        tokio::time::timeout(ANSWER_MAX, serving).await.expect("the member serves");
    }

    /// What a member has under a key.
    pub(crate) async fn value(&self, member: u32, key: &str, serializable: bool) -> Option<String> {
        value(&self.direct(member).await.execute(&get(key, serializable)).await.unwrap())
    }

    pub(crate) async fn stop(self) {
        self.cluster.stop().await;
    }
}

pub(crate) fn put(key: &str, value: &str) -> Request {
    Request::Put(Put { key: Text::from(key), value: Text::from(value), ..Put::default() })
}

pub(crate) fn get(key: &str, serializable: bool) -> Request {
    Request::Range(Range { key: Text::from(key), serializable, ..Range::default() })
}

pub(crate) fn value(response: &Response) -> Option<String> {
    match &response.body {
        ResponseBody::Range(answer) => answer.kvs.first().map(|kv| kv.value.to_string()),
        other => panic!("{other:?}"),
    }
}

/// A table of a fault: its kind, target and further words.
pub(crate) fn fault(kind: &str, target: &str, words: &str) -> String {
    format!("[[faults]]\nkind = \"{kind}\"\ntarget = \"{target}\"\nat = \"1s\"\n{words}\n")
}

/// The same, of a kind that lasts.
pub(crate) fn lasting(kind: &str, target: &str, words: &str) -> String {
    fault(kind, target, &format!("for = \"1m\"\n{words}"))
}
