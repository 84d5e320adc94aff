//! Golden files: each is read by a test.

use std::collections::BTreeSet;

use super::Finding;
use super::tree::Tree;

/// Every folder `testdata/<area>` is named by a test of its package, and every insta snapshot by a
/// test function. Whether the content is stale is for those tests to say.
pub(super) fn tested(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in tree.files.keys() {
        if let Some((package, inside)) = path.split_once("/testdata/") {
            let area = inside.split('/').next().unwrap_or(inside);
            if inside == area {
                findings.push(Finding::new(path, "a golden file lies in testdata/<area>/"));
            } else if !is_named(tree, package, area) {
                let what = format!("no test of {package} reads testdata/{area}: stale?");
                findings.push(Finding::new(path, what));
            }
        }
        if let Some(test) = snapshot_test(path) {
            let package = path.split("/src/").next().and_then(|p| p.split("/tests/").next());
            if !package.is_some_and(|package| names(tree, package, &format!("fn {test}("))) {
                findings.push(Finding::new(path, format!("no test is called {test}: stale")));
            }
        }
    }
    findings
}

fn is_named(tree: &Tree, package: &str, area: &str) -> bool {
    let quoted = format!("\"{area}\"");
    let pathed = format!("testdata/{area}");
    names(tree, package, &quoted) || names(tree, package, &pathed) || is_walked(tree, package)
}

/// A runner that walks all of `testdata` reads every area.
fn is_walked(tree: &Tree, package: &str) -> bool {
    names(tree, package, "\"testdata\"") || names(tree, package, "/testdata\"")
}

fn names(tree: &Tree, package: &str, text: &str) -> bool {
    let prefix = format!("{package}/");
    let sources: BTreeSet<&str> =
        tree.texts(".rs").filter(|(path, _)| path.starts_with(&prefix)).map(|(_, t)| t).collect();
    sources.iter().any(|source| source.contains(text))
}

/// `a/src/snapshots/crate__module__test_name.snap` belongs to `test_name`; a further snapshot of
/// the same test ends in `-2` and so on.
fn snapshot_test(path: &str) -> Option<&str> {
    let name = path.strip_suffix(".snap")?.rsplit('/').next()?;
    let test = name.rsplit("__").next()?;
    Some(match test.rsplit_once('-') {
        Some((test, number)) if number.parse::<u32>().is_ok() => test,
        _ => test,
    })
}
