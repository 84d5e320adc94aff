//! The lock and election services of the server.

use etcd_client::{
    Client, Error, GetOptions, LockOptions, ProclaimOptions, ResignOptions, WatchFilterType,
    WatchOptions, WatchStream,
};

use crate::{refused, revision};

/// A watch of what comes under a prefix, that is there already.
async fn arrivals(client: &mut Client, prefix: &str) -> Result<WatchStream, Error> {
    let puts = WatchOptions::new().with_prefix().with_filters([WatchFilterType::NoDelete]);
    let mut stream = client.watch(prefix, Some(puts)).await?;
    stream.message().await?;
    Ok(stream)
}

async fn count(client: &mut Client, prefix: &str) -> Result<i64, Error> {
    let options = GetOptions::new().with_prefix().with_count_only();
    Ok(client.get(prefix, Some(options)).await?.count())
}

/// One holder at a time, in the order of their coming.
pub async fn lock(mut client: Client) -> Result<(), Error> {
    let one = client.lease_grant(600, None).await?.id();
    let two = client.lease_grant(600, None).await?.id();
    let with = |lease| Some(LockOptions::new().with_lease(lease));
    let first = client.lock("lock/a", with(one)).await?;
    let key = String::from_utf8_lossy(first.key()).into_owned();
    println!("first: its key is of its lease: {}", key == format!("lock/a/{one:x}"));
    let again = client.lock("lock/a", with(one)).await?;
    println!("again: the same {}", again.key() == first.key());

    let mut queue = arrivals(&mut client, "lock/a/").await?;
    let mut other = client.clone();
    let waiting = tokio::spawn(async move {
        other.lock("lock/a", Some(LockOptions::new().with_lease(two))).await
    });
    queue.message().await?;
    println!("in line: {}, done {}", count(&mut client, "lock/a/").await?, waiting.is_finished());
    client.unlock(first.key()).await?;
    let second = waiting.await.expect("the task does not panic")?;
    println!("second: revision {}", revision(second.header()));
    client.lease_revoke(two).await?;
    println!("left: {}", count(&mut client, "lock/a/").await?);
    refused("unlock what is gone", client.unlock(second.key()).await);
    refused("an unknown lease", client.lock("lock/a", with(12345)).await);
    let own = client.lock("lock/b", None).await?;
    println!("a lease of the server's: {} key", count(&mut client, "lock/b/").await?);
    client.unlock(own.key()).await?;
    Ok(())
}

/// One leader at a time, and observers who hear of each.
pub async fn election(mut client: Client) -> Result<(), Error> {
    let one = client.lease_grant(600, None).await?.id();
    let two = client.lease_grant(600, None).await?.id();
    refused("no leader", client.leader("election/e").await);
    let mut first = client.campaign("election/e", "first", one).await?;
    let key = first.take_leader().ok_or(Error::ElectError("no leader".into()))?;
    println!(
        "campaign: name {} rev {} own key {} own lease {}",
        key.name_str()?,
        key.rev(),
        key.key_str()? == format!("election/e/{one:x}"),
        key.lease() == one
    );
    let mut observed = client.observe("election/e").await?;
    for proclaimed in [None, Some("first, again")] {
        if let Some(value) = proclaimed {
            let options = ProclaimOptions::new().with_leader(key.clone());
            client.proclaim(value, Some(options)).await?;
        }
        let heard = observed.message().await?.ok_or(Error::ElectError("ended".into()))?;
        let kv = heard.kv().ok_or(Error::ElectError("no leader".into()))?;
        println!("observed: {} mod {}", kv.value_str()?, kv.mod_revision());
    }
    let mut queue = arrivals(&mut client, "election/e/").await?;
    let mut other = client.clone();
    let waiting = tokio::spawn(async move { other.campaign("election/e", "second", two).await });
    queue.message().await?;
    let leader = client.leader("election/e").await?;
    println!("leader: {}", leader.kv().map_or(Ok(""), |kv| kv.value_str())?);
    client.resign(Some(ResignOptions::new().with_leader(key.clone()))).await?;
    let second = waiting.await.expect("the task does not panic")?;
    println!("second: own lease {}", second.leader().is_some_and(|key| key.lease() == two));
    let heard = observed.message().await?.ok_or(Error::ElectError("ended".into()))?;
    println!("observed: {}", heard.kv().map_or(Ok(""), |kv| kv.value_str())?);
    let options = ProclaimOptions::new().with_leader(key.clone());
    refused("proclaim after resigning", client.proclaim("x", Some(options)).await);
    refused("proclaim as nobody", client.proclaim("x", None).await);
    refused("resign as nobody", client.resign(None).await);
    refused("resign again", client.resign(Some(ResignOptions::new().with_leader(key))).await);
    refused("an unknown lease", client.campaign("election/e", "x", 12345).await);
    client.lease_revoke(two).await?;
    refused("no leader", client.leader("election/e").await);
    Ok(())
}
