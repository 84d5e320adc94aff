//! Which RPCs there are, by the names that scripts use.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, MethodDescriptor};

/// Packages whose services a client sees.
const PACKAGES: [&str; 3] = ["etcdserverpb", "v3lockpb", "v3electionpb"];

static METHODS: LazyLock<BTreeMap<String, Vec<MethodDescriptor>>> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(rusd_proto::FILE_DESCRIPTOR_SET)
        .expect("the descriptors were compiled by our build");
    let mut methods: BTreeMap<String, Vec<MethodDescriptor>> = BTreeMap::new();
    for service in pool.services().filter(|service| PACKAGES.contains(&service.package_name())) {
        for method in service.methods() {
            let full = format!("{}/{}", service.name(), method.name());
            methods.entry(method.name().to_owned()).or_default().push(method.clone());
            methods.entry(full).or_default().push(method);
        }
    }
    methods
});

/// The RPC of this name: `Put`, or `Maintenance/Status` where the short name could be another.
pub fn method(name: &str) -> Result<MethodDescriptor, String> {
    match METHODS.get(name).map(Vec::as_slice) {
        Some([method]) => Ok(method.clone()),
        Some(methods) => {
            let names: Vec<String> = methods
                .iter()
                .map(|method| format!("{}/{}", method.parent_service().name(), method.name()))
                .collect();
            Err(format!("{name:?} is ambiguous: write one of {}", names.join(", ")))
        }
        None => Err(format!("there is no RPC {name:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_rpc_has_a_short_and_a_long_name() {
        assert_eq!(method("Put").unwrap().full_name(), "etcdserverpb.KV.Put");
        assert_eq!(method("Maintenance/Status").unwrap().name(), "Status");
        assert_eq!(method("Lock").unwrap().full_name(), "v3lockpb.Lock.Lock");
        assert!(method("put").unwrap_err().contains("no RPC"));
    }
}
