//! Versions of etcd, as scripts and servers name them.

use std::fmt;
use std::str::FromStr;

/// `3.4`, or `3.4.23`. A shorter one is the first of its kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(Vec<u32>);

impl Version {
    /// The version whose answers scripts hold if they do not say otherwise.
    pub fn recorded() -> Version {
        Version(vec![3, 7, 3])
    }

    /// Whether this is `other`, or one of the versions that `other` begins.
    pub fn is_within(&self, other: &Version) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Version, String> {
        let parts: Result<Vec<u32>, _> = text.split('.').map(str::parse).collect();
        parts
            .map(Version)
            .map_err(|error| format!("{text:?} is no version such as 3.4 or 3.4.23: {error}"))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&parts.join("."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        assert!(version("3.4.23") < version("3.5"));
        assert!(version("3.10") > version("3.7.3"));
        assert!(version("3.4.23").is_within(&version("3.4")));
        assert!(!version("3.4").is_within(&version("3.4.23")));
        assert!("3.x".parse::<Version>().is_err());
    }
}
