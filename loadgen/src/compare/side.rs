//! One of the two systems that are compared, as the command line names it.

use std::path::PathBuf;

use crate::workload::{Overrides, System, nearest};

/// One of the two systems: `rusd`, `etcd=/path/to/etcd`, `'rusd --backend=fjall'`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// As it was written.
    pub text: String,
    /// Which server.
    pub system: System,
    /// Its executable, if not where it is built.
    pub binary: Option<PathBuf>,
    /// Flags of the server, after those of the workload.
    pub flags: Vec<String>,
}

impl Side {
    /// Reads `SYSTEM[=EXECUTABLE] [FLAGS]`; words are split as a shell does.
    pub fn parse(text: &str) -> Result<Side, String> {
        let words = shlex::split(text).ok_or_else(|| format!("`{text}`: a quote stays open"))?;
        let Some((server, flags)) = words.split_first() else {
            return Err("name a system: rusd or etcd".to_owned());
        };
        let (name, binary) = match server.split_once('=') {
            Some((name, binary)) => (name, Some(PathBuf::from(binary))),
            None => (server.as_str(), None),
        };
        let known = [System::Rusd, System::Etcd];
        let system = known.into_iter().find(|system| system.name() == name).ok_or_else(|| {
            let names = known.map(System::name);
            let hint = match nearest(name, names) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("write it as rusd={name} or etcd={name} if it is an executable"),
            };
            format!("unknown system `{name}`; {hint}")
        })?;
        if let Some(word) = flags.iter().find(|flag| !flag.starts_with('-')) {
            return Err(format!("`{word}` is no flag of {name}; write flags as --flag=value"));
        }
        Ok(Side { text: text.to_owned(), system, binary, flags: flags.to_vec() })
    }

    /// What makes a workload run on this side.
    pub fn overrides(&self, common: &Overrides) -> Overrides {
        let mut overrides = common.clone();
        overrides.system = Some(self.system);
        overrides.binary.clone_from(&self.binary);
        overrides.args.extend(self.flags.iter().cloned());
        overrides
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_read() {
        let side = Side::parse("rusd=./new/rusd --backend=fjall '--name=a b'").unwrap();
        assert_eq!(side.system, System::Rusd);
        assert_eq!(side.binary, Some(PathBuf::from("./new/rusd")));
        assert_eq!(side.flags, ["--backend=fjall", "--name=a b"]);
        let overrides = side.overrides(&Overrides { rate: Some(9), ..Overrides::default() });
        assert_eq!((overrides.rate, overrides.args.len()), (Some(9), 2));
    }

    #[test]
    fn wrong_sides_are_told() {
        for (text, expected) in [
            ("", "name a system: rusd or etcd"),
            ("ruds", "unknown system `ruds`; did you mean `rusd`?"),
            (
                "./new",
                "unknown system `./new`; write it as rusd=./new or etcd=./new if it is an executable",
            ),
            ("etcd --a b", "`b` is no flag of etcd; write flags as --flag=value"),
            ("etcd '", "`etcd '`: a quote stays open"),
        ] {
            assert_eq!(Side::parse(text), Err(expected.to_owned()));
        }
    }
}
