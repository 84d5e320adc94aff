//! The cluster and its members.

use etcd_client::{AlarmAction, AlarmType, Client, CompactionOptions, Error};

use crate::{refused, revision};

/// Asks for what can be asked, and does what leaves the member as it was.
pub async fn maintenance(mut client: Client) -> Result<(), Error> {
    for member in client.member_list().await?.members() {
        let (peers, clients) = (member.peer_urls().len(), member.client_urls().len());
        println!("member {} id {:x} {peers} {clients}", member.name(), member.id());
    }
    let status = client.status().await?;
    println!(
        "status: revision {} errors {:?} learner {} sized {}",
        revision(status.header()),
        status.errors(),
        status.is_learner(),
        status.db_size() > 0
    );
    let leader = status.leader();
    // Leases that the server chose are in the history: it goes before it is hashed.
    let options = CompactionOptions::new().with_physical();
    client.compact(revision(status.header()), Some(options)).await?;
    client.put("maintenance/a", "1", None).await?;
    println!("hash: {}", client.hash_kv(0).await?.hash());
    let alarms = client.alarm(AlarmAction::Get, AlarmType::None, None).await?;
    println!("alarms: {}", alarms.alarms().len());
    for action in [AlarmAction::Activate, AlarmAction::Deactivate] {
        let alarms = client.alarm(action, AlarmType::Nospace, None).await?;
        println!("{action:?}: {:?}", alarms.alarms().iter().map(|a| a.alarm()).collect::<Vec<_>>());
        refused("put", client.put("maintenance/a", "1", None).await);
    }
    refused("move to itself", client.move_leader(leader).await);
    refused("move to nobody", client.move_leader(12345).await);
    Ok(())
}
