//! Contexts of linearizable reads.
//!
//! A leader matches answers to requests by their context alone. So a context names its node as
//! well as its request, and no context may ever be used again, not even for a retry and not after
//! a restart: a late answer to the first use would give the second an index from before it began
//! (etcd issue 20418). The caller's counter must therefore start from a value that earlier runs
//! have not reached, as etcd's request ids do.

/// A read whose barrier is known: wait until `index` is applied, then read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadState {
    /// What the caller gave to `Node::read_index`.
    pub context: u64,
    /// Everything acknowledged before the call is at or before this entry.
    pub index: u64,
}

const CONTEXT_BYTES: usize = 16;

/// The context as it travels: node, then counter, big-endian.
pub(crate) fn encode(node_id: u64, context: u64) -> [u8; CONTEXT_BYTES] {
    let mut bytes = [0; CONTEXT_BYTES];
    bytes[..8].copy_from_slice(&node_id.to_be_bytes());
    bytes[8..].copy_from_slice(&context.to_be_bytes());
    bytes
}

/// The counter, if the context is one that `node_id` made.
pub(crate) fn decode(node_id: u64, bytes: &[u8]) -> Option<u64> {
    let (node, context) = bytes.split_first_chunk::<8>()?;
    let context = <[u8; 8]>::try_from(context).ok()?;
    (u64::from_be_bytes(*node) == node_id).then_some(u64::from_be_bytes(context))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_belongs_to_one_node() {
        let bytes = encode(7, 42);
        assert_eq!(decode(7, &bytes), Some(42));
        assert_eq!(decode(8, &bytes), None);
        assert_eq!(decode(7, &bytes[..15]), None);
        assert_eq!(decode(7, b""), None);
    }
}
