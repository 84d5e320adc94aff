//! What can be written in a script, and what is refused with a reason.

use super::*;

const WHOLE: &str = r#"# What holds,
# in two lines.
since 3.5
until 3.7
flags --max-txn-ops=4 --quota-backend-bytes=1

# A remark.
Put key: "a" \
    value: "1"
  header { * revision: 2 }
let R = header.revision
w = Watch
w > create_request { key: "a" }
w <
  header { * revision: 2 }
  created: true
w settle
  watch { created: true }
w end
eventually LeaseTimeToLive ID: 7
  header { * revision: 2 } ID: 7 TTL: -1
metadata hasleader=true
w cancel
"#;

#[test]
fn a_script_is_read_whole() {
    let script = Script::parse("put/some", WHOLE).unwrap();
    assert_eq!(script.about, "What holds, in two lines.");
    assert_eq!(script.needs.flags.len(), 2);
    assert!(script.needs.own_server());
    let texts: Vec<&str> = script.steps.iter().map(|step| step.text.as_str()).collect();
    assert_eq!(texts[0], r#"Put key: "a" value: "1""#);
    assert_eq!(texts.len(), 9);
    let put = &script.steps[0];
    assert_eq!(put.line, 8);
    assert_eq!(put.answer_lines, 9..10);
    assert_eq!(put.names, [("R".to_owned(), "header.revision".to_owned())]);
    let received = &script.steps[3];
    assert_eq!(received.expected.as_deref(), Some("header { * revision: 2 } created: true"));
}

#[test]
fn a_version_is_held_to_what_it_is_named_for() {
    let needs = Script::parse("put/some", WHOLE).unwrap().needs;
    let excludes = |version: &str| needs.excludes(&version.parse().unwrap());
    assert_eq!(excludes("3.4.23").unwrap(), "etcd answers so since 3.5");
    assert_eq!(excludes("3.7.3"), None);
    assert_eq!(excludes("3.8").unwrap(), "etcd answered so until 3.7");
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (text, line, problem) in [
        ("Put key: \"a\"\n", 1, "the first lines must say what holds"),
        ("# a\n", 1, "no step"),
        ("# a\nput key: \"a\"\n", 2, "no RPC \"put\""),
        ("# a\n  header { }\n", 2, "before the first step"),
        ("# a\nw = Watch\n  header { }\n", 3, "no answer"),
        ("# a\nx <\n", 2, "no call has the name \"x\""),
        ("# a\nPut\n\n  header { }\n", 4, "follows its step at once"),
        ("# a\nPut\nfresh\n", 3, "stands before the first step"),
        ("# a\nPut\nlet l = ID\n", 3, "capitals"),
        ("# a\nw = Watch\nlet L = ID\n", 3, "`let` follows a step with an answer"),
        ("# a\nsince x\n", 2, "no version"),
        ("# a\nc = Lock name: \"a\"\n", 2, "neither received"),
        ("# a\nc = Lock name: \"a\"\nc settle\n", 3, "only a watch settles"),
        ("# a\nSnapshot\n", 2, "answers with a stream"),
        ("# a\nw = Watch\nw < header { }\n", 3, "nothing may follow"),
        ("# a\nmetadata x\n", 2, "metadata KEY=VALUE"),
    ] {
        let error = Script::parse("a/b", text).unwrap_err();
        assert!(error.problem.contains(problem), "{text:?}: {error}");
        assert_eq!(error.line, line, "{text:?}: {error}");
    }
}
