//! Keys, in single requests, in streams and in transactions.

use etcd_client::{
    Client, CompactionOptions, Compare, CompareOp, DeleteOptions, Error, GetOptions, GetResponse,
    KvClientPrefix, PutOptions, SortOrder, SortTarget, Txn, TxnOp, TxnOpResponse,
};

use crate::{all_shown, refused, revision, shown};

fn range(what: &str, found: &GetResponse) {
    let (count, more) = (found.count(), found.more());
    println!("{what}: revision {} count {count} more {more}", revision(found.header()));
    for kv in found.kvs() {
        println!("  {}", shown(kv));
    }
}

/// Puts, gets, deletes and compacts.
pub async fn kv(mut client: Client) -> Result<(), Error> {
    for (key, value) in [("kv/a", "1"), ("kv/a", "2"), ("kv/b", "1"), ("kv/c", "0")] {
        let put = client.put(key, value, Some(PutOptions::new().with_prev_key())).await?;
        let before = put.prev_key().map(shown).unwrap_or_default();
        println!("put {key}: revision {} before {before}", revision(put.header()));
    }
    client.put("kv/a", "", Some(PutOptions::new().with_ignore_value())).await?;
    let prefix = || GetOptions::new().with_prefix();
    for (what, key, options) in [
        ("one", "kv/a", GetOptions::new()),
        ("none", "kv/none", GetOptions::new()),
        ("prefix", "kv/", prefix()),
        ("limit", "kv/", prefix().with_limit(2)),
        ("keys", "kv/", prefix().with_keys_only()),
        ("count", "kv/", prefix().with_count_only()),
        ("past", "kv/a", GetOptions::new().with_revision(2)),
        ("serializable", "kv/a", GetOptions::new().with_serializable()),
        ("from key", "kv/b", GetOptions::new().with_from_key()),
        ("range", "kv/a", GetOptions::new().with_range("kv/c")),
        ("descending", "kv/", prefix().with_sort(SortTarget::Key, SortOrder::Descend)),
        ("by value", "kv/", prefix().with_sort(SortTarget::Value, SortOrder::Ascend)),
        ("by mod", "kv/", prefix().with_sort(SortTarget::Mod, SortOrder::Descend).with_limit(1)),
        ("min mod", "kv/", prefix().with_min_mod_revision(5)),
        ("max create", "kv/", prefix().with_max_create_revision(4)),
    ] {
        range(what, &client.get(key, Some(options)).await?);
    }
    refused("empty key", client.put("", "1", None).await);
    let leased = PutOptions::new().with_lease(12345);
    refused("unknown lease", client.put("kv/a", "1", Some(leased)).await);
    let valueless = PutOptions::new().with_ignore_value();
    refused("a value to ignore", client.put("kv/a", "1", Some(valueless)).await);
    let future = GetOptions::new().with_revision(1000);
    refused("future", client.get("kv/a", Some(future)).await);
    let options = DeleteOptions::new().with_prev_key();
    let deleted = client.delete("kv/a", Some(options)).await?;
    println!("delete: {} {}", deleted.deleted(), all_shown(deleted.prev_kvs()));
    let deleted = client.delete("kv/", Some(DeleteOptions::new().with_prefix())).await?;
    println!("delete prefix: {} at {}", deleted.deleted(), revision(deleted.header()));
    let now = revision(deleted.header());
    client.compact(now - 1, None).await?;
    client.compact(now, Some(CompactionOptions::new().with_physical())).await?;
    refused("compact again", client.compact(now, None).await);
    let past = GetOptions::new().with_revision(now - 1);
    refused("compacted", client.get("kv/a", Some(past)).await);
    Ok(())
}

/// A range in pieces.
pub async fn stream(client: Client) -> Result<(), Error> {
    let mut client = client.kv_client();
    for number in 0..5 {
        client.put(format!("stream/{number}"), "1", None).await?;
    }
    let mut pieces = client.get_stream("stream/", Some(GetOptions::new().with_prefix())).await?;
    let mut keys = Vec::new();
    while let Some(piece) = pieces.message().await? {
        keys.extend(piece.kvs().iter().map(shown));
    }
    println!("stream: {}", keys.join("; "));
    Ok(())
}

/// Compares of every kind, both branches, nested, and invalid.
pub async fn txn(mut client: Client) -> Result<(), Error> {
    client.put("txn/a", "1", None).await?;
    for (what, compare) in [
        ("value", Compare::value("txn/a", CompareOp::Equal, "1")),
        ("not the value", Compare::value("txn/a", CompareOp::NotEqual, "1")),
        ("value of a missing key", Compare::value("txn/none", CompareOp::NotEqual, "1")),
        ("version", Compare::version("txn/a", CompareOp::Less, 2)),
        ("create", Compare::create_revision("txn/a", CompareOp::Greater, 0)),
        ("mod", Compare::mod_revision("txn/none", CompareOp::Equal, 0)),
        ("lease", Compare::lease("txn/a", CompareOp::Equal, 0)),
        ("prefix", Compare::version("txn/", CompareOp::Equal, 1).with_prefix()),
    ] {
        println!("{what}: {}", client.txn(Txn::new().when([compare])).await?.succeeded());
    }
    let all = || GetOptions::new().with_prefix();
    let inner = Txn::new()
        .when([Compare::value("txn/a", CompareOp::Equal, "2")])
        .and_then([TxnOp::put("txn/then", "1", None)])
        .or_else([TxnOp::put("txn/else", "1", None)]);
    let outer = Txn::new()
        .when([Compare::value("txn/a", CompareOp::Equal, "1")])
        .and_then([TxnOp::put("txn/a", "2", None), TxnOp::get("txn/", Some(all()))])
        .or_else([
            TxnOp::txn(inner),
            TxnOp::delete("txn/a", None),
            TxnOp::get("txn/", Some(all())),
        ]);
    for what in ["then", "else, nested"] {
        let done = client.txn(outer.clone()).await?;
        println!("{what}: {} at {}", done.succeeded(), revision(done.header()));
        for response in done.op_responses() {
            match response {
                TxnOpResponse::Put(_) => println!("  put"),
                TxnOpResponse::Get(found) => println!("  {}", all_shown(found.kvs())),
                TxnOpResponse::Delete(deleted) => println!("  deleted {}", deleted.deleted()),
                TxnOpResponse::Txn(inner) => println!("  inner {}", inner.succeeded()),
            }
        }
    }
    let twice = [TxnOp::put("txn/a", "1", None), TxnOp::put("txn/a", "2", None)];
    refused("the same key twice", client.txn(Txn::new().and_then(twice)).await);
    let many = vec![TxnOp::get("txn/a", None); 129];
    refused("too many operations", client.txn(Txn::new().and_then(many)).await);
    Ok(())
}

/// A prefix before every key, taken off again.
pub async fn namespace(client: Client) -> Result<(), Error> {
    let mut inner = KvClientPrefix::new(client.kv_client(), "namespace/".into());
    inner.put("a", "1", None).await?;
    range("inside", &inner.get("a", None).await?);
    range("outside", &client.kv_client().get("namespace/a", None).await?);
    Ok(())
}
