//! Rules over the Cargo.toml files.

use super::Finding;
use super::layers::{OUTSIDE, PACKAGES, Package, RUNTIMES};
use super::tree::Tree;

/// A dependency as a manifest lists it.
struct Dependency {
    name: String,
    line: usize,
}

/// A package depends only on packages below it.
pub(super) fn packages(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    each_manifest(tree, &mut |path, package, dependencies| {
        for dependency in dependencies {
            if is_ours(dependency) && !package.may_use.contains(&dependency.name.as_str()) {
                let what = format!("{} must not depend on {}", package.name, dependency.name);
                findings.push(Finding::at(path, dependency.line, what));
            }
        }
    });
    for (path, text) in tree.texts("Cargo.toml") {
        if OUTSIDE.iter().any(|folder| path.starts_with(folder)) {
            for dependency in dependencies(text).iter().filter(|dependency| is_ours(dependency)) {
                let what = format!("outside of the workspace, yet it uses {}", dependency.name);
                findings.push(Finding::at(path, dependency.line, what));
            }
        } else if text.contains("[package]") && manifest_owner(path).is_none() {
            let what = "a package without a place in the layers: add it to tidy/layers.rs";
            findings.push(Finding::new(path, what));
        }
    }
    findings
}

/// A pure package names no crate that brings a runtime along.
pub(super) fn runtimes(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    each_manifest(tree, &mut |path, package, dependencies| {
        for dependency in dependencies {
            if package.is_pure && RUNTIMES.contains(&dependency.name.as_str()) {
                let what =
                    format!("{} is stepped from outside: no {}", package.name, dependency.name);
                findings.push(Finding::at(path, dependency.line, what));
            }
        }
    });
    findings
}

fn each_manifest(tree: &Tree, each: &mut dyn FnMut(&str, &Package, &[Dependency])) {
    for (path, text) in tree.texts("Cargo.toml") {
        if let Some(package) = manifest_owner(path) {
            each(path, package, &dependencies(text));
        }
    }
}

fn is_ours(dependency: &Dependency) -> bool {
    PACKAGES.iter().any(|package| package.name == dependency.name)
}

fn manifest_owner(path: &str) -> Option<&'static Package> {
    PACKAGES.iter().find(|package| path == format!("{}/Cargo.toml", package.folder))
}

/// Names in every dependency table; a manifest that does not parse is cargo's to report.
fn dependencies(text: &str) -> Vec<Dependency> {
    let Ok(manifest) = text.parse::<toml::Table>() else { return Vec::new() };
    let mut found = Vec::new();
    collect(&manifest, text, &mut found);
    found
}

fn collect(table: &toml::Table, text: &str, found: &mut Vec<Dependency>) {
    for (key, value) in table {
        let Some(inner) = value.as_table() else { continue };
        if key.ends_with("dependencies") {
            for (name, spec) in inner {
                let renamed = spec.get("package").and_then(toml::Value::as_str);
                let line = text.lines().position(|line| line.starts_with(name.as_str()));
                let name = renamed.unwrap_or(name).to_owned();
                found.push(Dependency { name, line: line.map_or(1, |line| line + 1) });
            }
        } else {
            collect(inner, text, found);
        }
    }
}
