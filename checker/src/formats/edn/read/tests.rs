//! What the reader takes, what it refuses, and where.

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Result<Vec<Edn>, FormatError> {
    let mut reader = Reader::new(text.as_bytes());
    let mut forms = Vec::new();
    while let Some((_, form)) = reader.next_form()? {
        forms.push(form);
    }
    Ok(forms)
}

fn one(text: &str) -> Edn {
    let mut forms = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(forms.len(), 1, "{text}");
    forms.remove(0)
}

/// Forms that are written as they were read.
#[test]
fn forms_are_written_as_they_are_read() {
    for text in [
        "nil",
        "true",
        "-12",
        "9223372036854775807",
        "9223372036854775808",
        "1.5",
        "-1e-9",
        "1.5M",
        "1/3",
        "##Inf",
        ":a",
        ":jepsen.util/timed-out",
        "a-symbol",
        "-",
        "\\a",
        "\\(",
        "\\newline",
        r#""a \"quoted\" \\ \n\t\r\u0001 ü""#,
        "()",
        "(1 2)",
        "[]",
        "[[:append 1 2] [:r 1 nil]]",
        "{}",
        "{:a 1, [2] {}}",
        "#{1 2}",
        "#inst \"2024-01-01\"",
        "#jepsen.history.Op{:index 0}",
        "#:db{:id 1}",
    ] {
        assert_eq!(one(text).to_string(), text);
    }
}

#[test]
fn other_ways_to_write_are_understood() {
    for (text, same) in [
        ("12N", "12"),
        ("+7", "7"),
        ("[1, 2,,3 ; and no more\n]", "[1 2 3]"),
        ("[1 #_2 3]", "[1 3]"),
        ("[1 #_ #_ 2 3 4]", "[1 4]"),
        ("#_#_1 2 3", "3"),
        (r#""\u00e4 \ud83d\ude00 /""#, r#""ä 😀 /""#),
        ("\\u0041", "\\A"),
        (r#"#object[clojure.lang.Atom 0x1f2e "a"]"#, r#"#object [clojure.lang.Atom 0x1f2e "a"]"#),
        ("#foo ; comment\n bar", "#foo bar"),
    ] {
        assert_eq!(one(text).to_string(), same, "{text}");
    }
}

#[test]
fn nothing_is_no_form() {
    for text in ["", " ,\n", "; only a comment", "#_ gone"] {
        assert_eq!(read(text).unwrap(), [], "{text}");
    }
}

#[test]
fn bad_text_is_refused_at_its_place() {
    for (text, error) in [
        ("[1 2", "1:5 (byte 4): the text ends before the `]` of 1:1 (byte 0)"),
        ("\n (1 ]", "2:5 (byte 5): unexpected `]`"),
        ("{:a 1 :b}", "1:9 (byte 8): the map at 1:1 (byte 0) has a key without a value"),
        ("{:a", "1:4 (byte 3): the map at 1:1 (byte 0) has a key without a value"),
        ("1 2 }", "1:5 (byte 4): unexpected `}`"),
        ("\"abc", "1:5 (byte 4): the text ends in the string at 1:1 (byte 0)"),
        ("\"a\\q\"", "1:3 (byte 2): no such escape in a string"),
        ("\"\\u12g4\"", "1:2 (byte 1): `\\u` needs four hexadecimal digits"),
        ("\"\\ud800 \"", "1:2 (byte 1): half of a character"),
        (" 12x", "1:2 (byte 1): not a number: 12x"),
        ("0x1g", "1:1 (byte 0): not a number: 0x1g"),
        ("010", "1:1 (byte 0): not a number: 010"),
        (":", "1:1 (byte 0): a keyword without a name"),
        ("[: 1]", "1:2 (byte 1): a keyword without a name"),
        ("#", "1:1 (byte 0): `#` before the end"),
        ("#<Object>", "1:1 (byte 0): `#` before `<`"),
        ("#tag", "1:5 (byte 4): the text ends where a form is expected"),
        ("#_", "1:3 (byte 2): the text ends where a form is expected"),
        ("^{:a 1} b", "1:1 (byte 0): unexpected `^`"),
        ("\\nonsense", "1:1 (byte 0): no character is \\nonsense"),
        ("\u{7}", "1:1 (byte 0): unexpected byte 0x07"),
    ] {
        assert_eq!(read(text).unwrap_err().to_string(), error, "{text}");
    }
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let error = Reader::new(&b" \"ab\xff\""[..]).next_form().unwrap_err();
    assert_eq!(error.to_string(), "1:2 (byte 1): not UTF-8, 2 bytes into what begins here");
}

#[test]
fn depth_and_length_are_limited() {
    for open in ["[", "(", "{1 ", "#{", "#t ", "#_", "[#_", "{1 #_"] {
        let error = read(&open.repeat(100_000)).unwrap_err();
        assert!(matches!(error, FormatError::TooLarge { .. }), "{open}: {error}");
    }
    let deep = format!("{}{}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX));
    one(&deep);
    for text in ["x".repeat(TOKEN_BYTES_MAX + 1), "1".repeat(TOKEN_BYTES_MAX + 1)] {
        let error = read(&text).unwrap_err();
        assert!(matches!(error, FormatError::TooLarge { .. }), "{error}");
    }
}

/// An endless string, and an endless vector, are given up with little of them in memory.
#[test]
fn endless_forms_are_given_up() {
    for (start, rest) in [("\"", b"a"), ("[", b"1"), ("[", b" "), ("{:a (", b")")] {
        let input = start.as_bytes().chain(std::io::repeat(rest[0]));
        let limited = input.take(FORM_BYTES_MAX + (1 << 20));
        let error = Reader::new(limited).next_form().unwrap_err();
        match rest[0] {
            // A blank is nothing that is held, and `)` closes at once.
            b' ' | b')' => assert!(matches!(error, FormatError::Syntax { .. }), "{error}"),
            _ => assert!(matches!(error, FormatError::TooLarge { .. }), "{error}"),
        }
    }
}

fn forms() -> impl Strategy<Value = Edn> {
    let name = "[a-zA-Z*!_?$%&=<>.][a-zA-Z0-9*!_?$%&=<>./'#:-]{0,8}";
    let leaf = prop_oneof![
        Just(Edn::Nil),
        any::<bool>().prop_map(Edn::Bool),
        any::<i64>().prop_map(Edn::Integer),
        Just(Edn::Number("1.5e3".into())),
        any::<char>().prop_map(Edn::Char),
        any::<String>().prop_map(Edn::String),
        name.prop_filter("are no symbols", |name: &String| {
            !["nil", "true", "false"].contains(&name.as_str())
        })
        .prop_map(Edn::Symbol),
        name.prop_map(Edn::Keyword),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let many = || prop::collection::vec(inner.clone(), 0..5);
        prop_oneof![
            many().prop_map(Edn::List),
            many().prop_map(Edn::Vector),
            many().prop_map(Edn::Set),
            prop::collection::vec((inner.clone(), inner.clone()), 0..4).prop_map(Edn::Map),
            ("[a-z][a-z./]{0,6}", inner.clone())
                .prop_map(|(tag, form)| Edn::Tagged(tag, Box::new(form))),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(form in forms()) {
        prop_assert_eq!(one(&form.to_string()), form);
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        drop(read(&text));
    }
}
