//! Leases.

use etcd_client::{
    Client, Error, LeaseGrantOptions, LeaseTimeToLiveOptions, PutOptions, WatchOptions,
};

use crate::{refused, revision, shown};

/// Grants, keeps alive, looks at, revokes, and lets run out.
pub async fn lease(mut client: Client) -> Result<(), Error> {
    let granted = client.lease_grant(600, Some(LeaseGrantOptions::new().with_id(77))).await?;
    println!("grant: id {} ttl {} {:?}", granted.id(), granted.ttl(), granted.error());
    client.put("lease/a", "1", Some(PutOptions::new().with_lease(77))).await?;
    let keys = || Some(LeaseTimeToLiveOptions::new().with_keys());
    let left = client.lease_time_to_live(77, keys()).await?;
    let attached: Vec<_> = left.keys().iter().map(|key| String::from_utf8_lossy(key)).collect();
    println!("left: of {} some {} {attached:?}", left.granted_ttl(), left.ttl() > 0);
    println!("leases: {}", client.leases().await?.leases().len());
    let (mut keeper, mut answers) = client.lease_keep_alive(77).await?;
    for _ in 0..2 {
        keeper.keep_alive().await?;
        let answer = answers.message().await?.ok_or(Error::Internal("no answer".into()))?;
        println!("keep-alive: id {} ttl {}", answer.id(), answer.ttl());
    }
    let again = LeaseGrantOptions::new().with_id(77);
    refused("the same id", client.lease_grant(600, Some(again)).await);
    refused("too long", client.lease_grant(9_000_000_001, None).await);
    client.lease_revoke(77).await?;
    println!("revoked: {} keys", client.get("lease/a", None).await?.count());
    refused("revoked again", client.lease_revoke(77).await);
    let left = client.lease_time_to_live(77, keys()).await?;
    println!("left when gone: {} of {}", left.ttl(), left.granted_ttl());
    refused("keep alive when gone", client.lease_keep_alive(77).await);

    let short = client.lease_grant(1, None).await?.id();
    let leased = PutOptions::new().with_lease(short);
    let put = revision(client.put("lease/short", "1", Some(leased)).await?.header());
    let from = WatchOptions::new().with_start_revision(put + 1);
    let mut stream = client.watch("lease/short", Some(from)).await?;
    while let Some(response) = stream.message().await? {
        if let Some(event) = response.events().first() {
            let kv = event.kv().map(shown).unwrap_or_default();
            println!("runs out: {:?} {kv}", event.event_type());
            return Ok(());
        }
    }
    Ok(())
}
