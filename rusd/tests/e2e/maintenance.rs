//! What an operator sees and does: alarms, the quota, who leads.

use rusd_proto::etcdserverpb::alarm_request::AlarmAction;
use rusd_proto::etcdserverpb::auth_client::AuthClient;
use rusd_proto::etcdserverpb::kv_client::KvClient;
use rusd_proto::etcdserverpb::lease_client::LeaseClient;
use rusd_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use rusd_proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmType, AuthStatusRequest, LeaseGrantRequest,
    LeaseTimeToLiveRequest, MoveLeaderRequest, PutRequest, StatusRequest, StatusResponse,
};
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::cluster::Cluster;
use crate::process::{Member, Polling, delete, http, put};

/// A client of one member.
struct Operator {
    endpoint: String,
    maintenance: MaintenanceClient<Channel>,
}

impl Operator {
    async fn of(endpoint: &str) -> Self {
        let channel = Channel::from_shared(endpoint.to_owned()).unwrap().connect().await.unwrap();
        Operator { endpoint: endpoint.to_owned(), maintenance: MaintenanceClient::new(channel) }
    }

    async fn status(&mut self) -> StatusResponse {
        self.maintenance.status(StatusRequest {}).await.unwrap().into_inner()
    }

    async fn alarm(
        &mut self,
        action: AlarmAction,
        kind: AlarmType,
        member_id: u64,
    ) -> Vec<AlarmMember> {
        let mut request = AlarmRequest { member_id, ..AlarmRequest::default() };
        request.set_action(action);
        request.set_alarm(kind);
        self.maintenance.alarm(request).await.unwrap().into_inner().alarms
    }

    async fn move_leader(&mut self, target_id: u64) -> Result<(), (Code, String)> {
        let moved = self.maintenance.move_leader(MoveLeaderRequest { target_id }).await;
        let response = moved.map_err(row)?.into_inner();
        assert_eq!(response.header, None, "etcd's answer has no header");
        Ok(())
    }

    /// Status line and body of an HTTP answer.
    async fn http(&self, path: &str) -> (String, String) {
        http(&self.endpoint, path, &[], "").await
    }
}

fn row(status: Status) -> (Code, String) {
    (status.code(), status.message().to_owned())
}

fn no_space() -> (Code, String) {
    (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded".to_owned())
}

const OK: &str = "HTTP/1.1 200 OK";
const ILL: &str = "HTTP/1.1 503 Service Unavailable";

#[tokio::test]
async fn what_does_not_fit_raises_an_alarm_and_then_nothing_is_put() {
    let member = Member::start(&["--quota-backend-bytes", "1000000"]);
    let mut operator = Operator::of(&member.endpoint).await;
    let mut kv = member.kv().await;
    put(&mut kv, "small", "1").await;
    assert_eq!(operator.status().await.db_size_quota, 1_000_000);

    let large = PutRequest { value: vec![0; 1_000_000].into(), ..PutRequest::default() };
    // etcd asks for space before it asks for a key.
    assert_eq!(kv.put(large).await.map_err(row).unwrap_err(), no_space());
    let status = operator.status().await;
    let id = status.header.unwrap().member_id;
    // What is between the two words is etcd's library's whim.
    let shown: Vec<Vec<&str>> =
        status.errors.iter().map(|error| error.split_whitespace().collect()).collect();
    assert_eq!(shown, [[&format!("memberID:{id}")[..], "alarm:NOSPACE"]]);

    let key = "small".into();
    let small = PutRequest { key, ..PutRequest::default() };
    assert_eq!(kv.put(small.clone()).await.map_err(row).unwrap_err(), no_space());
    let mut leases = LeaseClient::new(member.channel().await);
    let grant = LeaseGrantRequest { ttl: 10, id: 0 };
    assert_eq!(leases.lease_grant(grant).await.map_err(row).unwrap_err(), no_space());
    delete(&mut kv, "small").await;

    let nospace = vec![AlarmMember { member_id: id, alarm: AlarmType::Nospace.into() }];
    assert_eq!(operator.alarm(AlarmAction::Get, AlarmType::None, 0).await, nospace);
    let disarmed = operator.alarm(AlarmAction::Deactivate, AlarmType::Nospace, id).await;
    assert_eq!(disarmed, nospace);
    kv.put(small).await.unwrap();
    assert_eq!(operator.alarm(AlarmAction::Get, AlarmType::None, 0).await, []);
}

#[tokio::test]
async fn health_tells_of_alarms() {
    let member = Member::start(&[]);
    let mut operator = Operator::of(&member.endpoint).await;
    let healthy = (OK.to_owned(), r#"{"health":"true","reason":""}"#.to_owned());
    assert_eq!(operator.http("/health").await, healthy);
    operator.alarm(AlarmAction::Activate, AlarmType::Corrupt, 5).await;
    let ill = (ILL.to_owned(), "{\"health\":\"false\",\"reason\":\"ALARM CORRUPT\"}\n".to_owned());
    assert_eq!(operator.http("/health").await, ill);
    assert_eq!(operator.http("/health?serializable=true").await, ill);
    assert_eq!(operator.http("/health?exclude=NOSPACE").await, ill);
    assert_eq!(operator.http("/health?exclude=NOSPACE&exclude=CORRUPT").await, healthy);
    let (line, body) = operator.http("/readyz").await;
    assert_eq!(line, ILL);
    assert!(body.contains("[-]data_corruption failed: alarm activated: CORRUPT\n"), "{body}");
    assert!(body.contains("[+]linearizable_read ok\n"), "{body}");
    let ok = (OK.to_owned(), "ok\n".to_owned());
    assert_eq!(operator.http("/readyz?exclude=data_corruption").await, ok);
    assert_eq!(operator.http("/readyz/non_learner").await, ok);
    assert_eq!(operator.http("/readyz/data_corruption").await.0, ILL);
    assert_eq!(operator.http("/livez").await, ok);
    assert_eq!(operator.http("/livez/data_corruption").await.0, "HTTP/1.1 404 Not Found");
    let corrupt = (Code::DataLoss, "etcdserver: corrupt cluster".to_owned());
    let request = PutRequest { key: "a".into(), ..PutRequest::default() };
    assert_eq!(member.kv().await.put(request).await.map_err(row).unwrap_err(), corrupt);
}

/// As etcd's, so that what looks at it looks at ours.
#[tokio::test]
async fn metrics_tell_what_the_process_uses() {
    let member = Member::start(&[]);
    let (line, metrics) = Operator::of(&member.endpoint).await.http("/metrics").await;
    assert_eq!(line, OK);
    for (name, kind) in [
        ("cpu_seconds_total", "counter"),
        ("max_fds", "gauge"),
        ("open_fds", "gauge"),
        ("resident_memory_bytes", "gauge"),
        ("start_time_seconds", "gauge"),
        ("virtual_memory_bytes", "gauge"),
    ] {
        let told = format!("# TYPE process_{name} {kind}\nprocess_{name} ");
        assert!(metrics.contains(&told), "{name}: {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_goes_where_it_is_told_to() {
    if std::env::var("RUSD_E2E_ENDPOINT").is_ok() {
        return;
    }
    let cluster = Cluster::start();
    let mut operators = Vec::new();
    for endpoint in &cluster.endpoints {
        operators.push(Operator::of(endpoint).await);
    }
    let mut kv = KvClient::connect(cluster.endpoints[0].clone()).await.unwrap();
    let bad = (Code::FailedPrecondition, "etcdserver: bad leader transferee".to_owned());
    let not_leader = (Code::FailedPrecondition, "etcdserver: not leader".to_owned());
    let mut ids = Vec::new();
    for operator in &mut operators {
        let status = operator.status().await;
        let id = status.header.unwrap().member_id;
        ids.push(id);
        // The leader looks whether it leads first, and then at the member.
        let expected = if status.leader == id { &bad } else { &not_leader };
        assert_eq!(&operator.move_leader(4).await.unwrap_err(), expected);
    }
    for target in [1, 2, 0, 0] {
        let target = ids[target];
        // Who leads is asked anew when leadership has moved by itself.
        loop {
            let leader = operators[0].status().await.leader;
            let Some(from) = ids.iter().position(|id| *id == leader) else { continue };
            match operators[from].move_leader(target).await {
                Ok(()) => break,
                Err(error) => assert_eq!(error, not_leader),
            }
        }
        put(&mut kv, "a", "1").await;
    }
}

/// The alarm keeps the lease from being revoked; meanwhile it is told how long it is over.
#[tokio::test]
async fn a_lease_that_is_over_and_not_revoked_is_told_with_its_keys() {
    let member = Member::start(&[]);
    let mut operator = Operator::of(&member.endpoint).await;
    let (mut kv, mut leases) = (member.kv().await, LeaseClient::new(member.channel().await));
    leases.lease_grant(LeaseGrantRequest { ttl: 2, id: 7 }).await.unwrap();
    let put = PutRequest { key: "k".into(), lease: 7, ..PutRequest::default() };
    kv.put(put).await.unwrap();
    operator.alarm(AlarmAction::Activate, AlarmType::Corrupt, 5).await;
    let polling = Polling::start();
    let told = loop {
        let request = LeaseTimeToLiveRequest { id: 7, keys: true };
        let told = leases.lease_time_to_live(request).await.unwrap().into_inner();
        if told.ttl < 0 {
            break told;
        }
        polling.again("its time is not over").await;
    };
    assert_eq!((told.ttl, told.granted_ttl), (-1, 2));
    assert_eq!(told.keys, ["k"]);
}

/// Auth is not built; etcd has it.
#[tokio::test]
async fn what_is_not_built_is_refused_in_words() {
    if std::env::var("RUSD_E2E_ENDPOINT").is_ok() {
        return;
    }
    let member = Member::start(&[]);
    let mut auth = AuthClient::new(member.channel().await);
    let refused = auth.auth_status(AuthStatusRequest {}).await.map_err(row).unwrap_err();
    assert_eq!(refused, (Code::Unimplemented, "etcdserver: not implemented".to_owned()));
}

/// Clients may compress what they send. rusd's answers are not compressed, etcd's then are.
#[tokio::test]
async fn a_compressed_request_is_understood() {
    let member = Member::start(&[]);
    let gzip = CompressionEncoding::Gzip;
    let mut kv = member.kv().await.send_compressed(gzip).accept_compressed(gzip);
    kv.put(PutRequest { key: "k".into(), ..PutRequest::default() }).await.unwrap();
}
