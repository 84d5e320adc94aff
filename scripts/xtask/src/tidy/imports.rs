//! Rules over what Rust code imports.

use super::Finding;
use super::layers::{ENGINES, EXCEPTIONS, PACKAGES, Package};
use super::source::mentions;
use super::tree::Tree;

/// Code names only packages below its own.
pub(super) fn packages(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts(".rs") {
        let Some(owner) = Package::of(path) else { continue };
        for other in PACKAGES {
            if other.name == owner.name || owner.may_use.contains(&other.name) {
                continue;
            }
            for mention in mentions(text, &other.crate_name()) {
                let what = format!("{} must not use {}", owner.name, mention.path);
                findings.push(Finding::at(path, mention.line, what));
            }
        }
    }
    findings
}

/// Inside a package, a module imports nothing from a layer above it.
pub(super) fn modules(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts(".rs") {
        let Some((package, module)) = module_of(path) else { continue };
        let Some(own) = package.tier(module) else {
            let what = format!("module {module} has no layer: add it to tidy/layers.rs");
            findings.push(Finding::new(path, what));
            continue;
        };
        for mention in mentions(text, "crate") {
            let target = mention.path.split("::").nth(1).unwrap_or_default();
            let is_above = package.tier(target).is_some_and(|tier| tier < own);
            if is_above && !is_excepted(package, &mention.path) {
                let what = format!("{module} must not import {}: it is above", mention.path);
                findings.push(Finding::at(path, mention.line, what));
            }
        }
    }
    findings
}

/// Only the adapter of an engine names the engine.
pub(super) fn engines(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts(".rs") {
        // The parent of the adapters names their modules, which bear the engines' names.
        for (engine, adapter) in ENGINES.iter().filter(|(_, adapter)| {
            path != *adapter
                && adapter.rsplit_once('/').map(|(folder, _)| folder)
                    != path.strip_suffix("/mod.rs")
        }) {
            for mention in mentions(text, engine) {
                let what = format!("{} outside its adapter {adapter}", mention.path);
                findings.push(Finding::at(path, mention.line, what));
            }
        }
    }
    findings
}

/// The top-level module a file belongs to, in a package whose modules are layered. `lib.rs`
/// belongs to none: it names them all.
fn module_of(path: &str) -> Option<(&'static Package, &str)> {
    let package = Package::of(path)?;
    if package.tiers.is_empty() {
        return None;
    }
    let inside = path.strip_prefix(package.folder)?.strip_prefix("/src/")?;
    let module = inside.split('/').next()?.trim_end_matches(".rs");
    (module != "lib" && module != "bin").then_some((package, module))
}

fn is_excepted(package: &Package, path: &str) -> bool {
    EXCEPTIONS.iter().any(|exception| {
        debug_assert!(!exception.reason.is_empty(), "an exception has a reason");
        exception.package == package.name && path.starts_with(exception.path)
    })
}
