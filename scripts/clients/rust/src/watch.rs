//! Watches: several on one stream, with ids, progress, and an end.

use etcd_client::{Client, Error, WatchFilterType, WatchOptions, WatchResponse, WatchStream};

use crate::{refused, revision, shown};

/// The next response, printed.
async fn next(what: &str, stream: &mut WatchStream) -> Result<WatchResponse, Error> {
    let response = stream.message().await?.ok_or(Error::WatchError("ended".into()))?;
    println!(
        "{what}: id {} created {} canceled {} compact {} reason {:?} events {}",
        response.watch_id(),
        response.created(),
        response.canceled(),
        response.compact_revision(),
        response.cancel_reason(),
        response.events().len(),
    );
    for event in response.events() {
        let kv = event.kv().map(shown).unwrap_or_default();
        let before = event.prev_kv().map(shown).unwrap_or_default();
        println!("  {:?} {kv} before {before}", event.event_type());
    }
    Ok(response)
}

/// Looks at the past, at the present, and at what is gone.
pub async fn watch(mut client: Client) -> Result<(), Error> {
    let first = revision(client.put("watch/a", "1", None).await?.header());
    client.put("watch/a", "2", None).await?;
    client.put("watch/b", "1", None).await?;
    client.delete("watch/a", None).await?;
    let from = || WatchOptions::new().with_start_revision(first);

    let all = from().with_prefix().with_prev_key().with_watch_id(7);
    let mut stream = client.watch("watch/", Some(all)).await?;
    next("created", &mut stream).await?;
    next("past", &mut stream).await?;
    stream.watch("watch/", Some(from().with_prefix().with_watch_id(7))).await?;
    next("the same id", &mut stream).await?;
    let deletes = from().with_prefix().with_watch_id(8).with_filters([WatchFilterType::NoPut]);
    stream.watch("watch/", Some(deletes)).await?;
    next("another", &mut stream).await?;
    next("only deletes", &mut stream).await?;
    stream.watch("watch/b", Some(WatchOptions::new().with_range("watch/a"))).await?;
    next("an inverted range", &mut stream).await?;

    client.put("watch/c", "1", None).await?;
    next("live", &mut stream).await?;
    let last = revision(client.put("elsewhere", "1", None).await?.header());
    stream.request_progress().await?;
    let progress = next("progress", &mut stream).await?;
    println!("  up to date: {}", revision(progress.header()) == last);
    stream.cancel(8).await?;
    next("canceled", &mut stream).await?;
    stream.cancel(7).await?;
    next("canceled", &mut stream).await?;

    client.compact(last, None).await?;
    stream.watch("watch/a", Some(from().with_watch_id(9))).await?;
    next("created", &mut stream).await?;
    next("compacted", &mut stream).await?;
    refused("future", client.compact(last + 1000, None).await);
    Ok(())
}
