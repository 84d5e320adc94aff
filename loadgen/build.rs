//! Embeds the conformance scripts, so that `loadgen conform` needs no folder beside it.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=conform");
    let root =
        PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("conform");
    let mut table = String::from("&[\n");
    for area in sorted(&root)?.iter().filter(|path| path.is_dir()) {
        println!("cargo:rerun-if-changed={}", area.display());
        for file in sorted(area)?.iter().filter(|path| path.extension() == Some("txt".as_ref())) {
            let name = format!("{}/{}", stem(area), stem(file));
            let path = file.display().to_string();
            writeln!(table, "    ({name:?}, include_str!({path:?})),")
                .expect("writing into a string does not fail");
        }
    }
    table.push_str("]\n");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("conformance_scripts.rs"), table)
}

fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = entries.collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn stem(path: &Path) -> String {
    path.file_stem().expect("it has a name").to_string_lossy().into_owned()
}
