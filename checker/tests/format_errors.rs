//! What readers refuse or remark on, and where: one row for each thing that can be wrong.

use std::fs;

use rusd_checker::formats::jepsen::Events;
use rusd_checker::formats::native::Records;
use rusd_checker::formats::{
    Converted, Format, FormatError, Pairs, Source, Target, convert, interpret, jepsen_edn, native,
    robustness,
};
use tempfile::TempDir;

/// Reads a text, pairs it, and gives the error.
fn error(format: Format, text: &str) -> String {
    let source = Source::Text(format, Box::new(text.as_bytes()));
    let target = Target::Text(Format::JepsenEdn, Box::new(std::io::sink()));
    convert(source, target).expect_err(text).to_string()
}

#[test]
fn operations_in_edn() {
    for (text, expected) in [
        (
            "[{:type :invoke, :process 0}",
            "1:29 (byte 28): the text ends in the history that begins at 1:1 (byte 0)",
        ),
        ("[{:type :invoke}] {}", "1:19 (byte 18): text after the end of the history"),
        ("[{:type :invoke} 7]", "1:18 (byte 17): an operation is a map, but here is `7`"),
        ("[#tag [1]]", "1:7 (byte 6): an operation is a map, but here is `[`"),
        ("\n{:process 0}", "2:1 (byte 1): an operation without :type"),
        (
            "{:process 0,\n :type :done}",
            "2:8 (byte 20): unknown :type :done: there are :invoke, :ok, :fail and :info",
        ),
        (
            "{:type 7}",
            "1:8 (byte 7): unknown :type a number: there are :invoke, :ok, :fail and :info",
        ),
        ("{:type :ok, :type :ok}", "1:19 (byte 18): a second :type"),
        (
            "{:type :ok, :process -1}",
            "1:22 (byte 21): :process is a number, not a natural number and no name",
        ),
        (
            "{:type :ok, :process [1]}",
            "1:22 (byte 21): :process is a vector, not a natural number and no name",
        ),
        ("{:type :ok, :index -1}", "1:20 (byte 19): :index is a number, not a natural number"),
        ("{:type :ok, :time 1.5}", "1:19 (byte 18): :time is a number, not whole nanoseconds"),
        ("{:type :invoke, :value [1}", "1:26 (byte 25): unexpected `}`"),
    ] {
        assert_eq!(error(Format::JepsenEdn, text), expected, "{text}");
    }
}

#[test]
fn operations_in_json() {
    for (text, expected) in [
        (
            "[{\"type\":\"invoke\"}",
            "1:19 (byte 18): the text ends in the history that begins at 1:1 (byte 0)",
        ),
        ("[{\"type\":\"invoke\"} {}]", "1:20 (byte 19): `,` is expected, but here is `{`"),
        ("[{\"type\":\"invoke\"},]", "1:20 (byte 19): a value is expected, but here is `]`"),
        ("[] 1", "1:4 (byte 3): text after the end of the history"),
        ("[\n1]", "2:1 (byte 2): an operation is an object, but here is a number"),
        (
            "[{\"type\":\n\"gone\"}]",
            "1:2 (byte 1): unknown :type :gone: there are :invoke, :ok, :fail and :info",
        ),
        ("[{\"type\" \"ok\"}]", "1:10 (byte 9): expected `:`"),
        ("[{\"process\":0}]", "1:2 (byte 1): an operation without :type"),
    ] {
        assert_eq!(error(Format::JepsenJson, text), expected, "{text}");
    }
}

#[test]
fn log_lines() {
    for (text, expected) in [
        (
            "noise\nINFO  jepsen.util - 3\t:invoke\n",
            "2:30 (byte 35): an operation has columns for process, type, function and value",
        ),
        (
            "INFO  jepsen.util - 3\t:invoke\t:read\tnil\tnil\t7",
            "1:45 (byte 44): an operation has at most five columns",
        ),
        (
            "INFO  jepsen.util - 3\t:call\t:read\tnil",
            "1:23 (byte 22): unknown :type :call: there are :invoke, :ok, :fail and :info",
        ),
        ("INFO  jepsen.util - 3x\t:invoke\t:read\tnil", "1:21 (byte 20): not a number: 3x"),
        (
            "INFO  jepsen.util - 3\t:invoke\t:cas\t[1 2",
            "1:40 (byte 39): the text ends before the `]` of 1:36 (byte 35)",
        ),
    ] {
        assert_eq!(error(Format::JepsenLog, text), expected, "{text}");
    }
}

#[test]
fn key_value_lines() {
    let call = "{:process 0, :type :invoke, :f :put, :key \"a\", :value \"b\"}\n";
    for (text, expected) in [
        (
            format!("{call}{{:process 0, :type :ok, :f :put, :value \"b\"}}"),
            "2:1 (byte 59): an operation without :key",
        ),
        (
            "{:process 0, :type :invoke, :f :cas, :key \"a\"}".into(),
            "1:1 (byte 0): an operation is :get, :put or :append",
        ),
    ] {
        assert_eq!(error(Format::PorcupineKv, &text), expected, "{text}");
    }
}

/// What the other format has no words for is named with the operation that says it.
#[test]
fn untellable_operations() {
    let tell = |text: &str, to| {
        let source = Source::Text(Format::JepsenEdn, Box::new(text.as_bytes()));
        convert(source, Target::Text(to, Box::new(std::io::sink()))).map_err(|e| e.to_string())
    };
    let call = "{:type :invoke, :process 0, :f :put, :value [\"k\" \"v\"]}\n";
    let get = "{:type :invoke, :process 0, :f :get, :value [\"k\" nil]}\n";
    for (text, to, expected) in [
        (
            format!("{call}{}", "{:type :fail, :process 0, :f :put, :value [\"k\" \"v\"]}"),
            Format::PorcupineKv,
            "2:1 (byte 55): Porcupine's key-value files have no failures",
        ),
        (
            format!("{call}{}", "{:type :ok, :process 0, :f :put, :value 7}"),
            Format::PorcupineKv,
            "2:1 (byte 55): not the value of one key: [key value]",
        ),
        (
            get.into(),
            Format::PorcupineKv,
            "1:1 (byte 0): Porcupine takes a :get without an answer for one that read nothing",
        ),
        (
            "{:type :invoke, :process 0, :f :cas, :value [\"k\" [1 2]]}".into(),
            Format::PorcupineKv,
            "1:1 (byte 0): Porcupine's key-value files have only :get, :put and :append",
        ),
        (
            "{:type :invoke, :process 0, :f :put, :value [[1] 2]}".into(),
            Format::PorcupineKv,
            "1:1 (byte 0): Porcupine's key-value files have strings for keys and values",
        ),
        (
            "{:type :invoke, :process 0, :f :put, :value 1/3}".into(),
            Format::JepsenJson,
            "1:1 (byte 0): JSON has no number 1/3",
        ),
        (
            "{:type :invoke, :process 0, :f :put, :value {[1] 2}}".into(),
            Format::JepsenJson,
            "1:1 (byte 0): a key of an object in JSON cannot be a vector: [1]",
        ),
        (
            "{:type :invoke, :process 0, :f :put, :value {:a 1, \"a\" 2}}".into(),
            Format::JepsenJson,
            "1:1 (byte 0): in JSON two keys of a map would be the same: \"a\"",
        ),
    ] {
        assert_eq!(tell(&text, to).expect_err(&text), expected, "{text}");
    }
    // A write whose outcome is unknown is told by its call alone.
    let crashed = format!("{call}{}", "{:type :info, :process 0, :f :put, :value [\"k\" \"v\"]}");
    tell(&crashed, Format::PorcupineKv).expect("tellable");
}

/// What the other format has no words for, and which judges nothing, is counted.
#[test]
fn what_is_left_out_is_said() {
    let text = "\
        {:type :invoke, :process 0, :f :put, :value [\"k\" \"v\"], :time 1}\n\
        {:type :info, :process 0, :f :put, :value [\"k\" \"v\"], :time 2, :error :lost}\n\
        {:type :info, :process :nemesis, :f :start, :value #{1}}\n";
    for (to, expected) in [
        (Format::JepsenEdn, &[][..]),
        (
            Format::JepsenJson,
            &[("operations' keywords, lists, sets and tags: strings and arrays stand for them", 2)],
        ),
        (
            Format::PorcupineKv,
            &[
                ("ends of unknown outcome: the call tells as much", 1),
                ("lines that are of no client", 1),
                ("times", 1),
            ],
        ),
    ] {
        let source = Source::Text(Format::JepsenEdn, Box::new(text.as_bytes()));
        let converted = convert(source, Target::Text(to, Box::new(std::io::sink())));
        let left_out = converted.expect("tellable").left_out;
        assert_eq!(left_out.counts().collect::<Vec<_>>(), expected, "{to:?}");
    }
}

#[test]
fn processes_do_one_thing_at_a_time() {
    let call = "{:type :invoke, :process 0, :f :read}\n";
    for (text, expected) in [
        (
            format!("{call}{call}"),
            "2:1 (byte 38): process 0 calls again before its call at 1:1 (byte 0) has returned",
        ),
        (
            "{:type :ok, :process 3, :f :read}".into(),
            "1:1 (byte 0): process 3 returns without a call",
        ),
        (
            "{:type :invoke, :value []}\n{:type :invoke, :value []}".into(),
            "2:1 (byte 27): the process of all operations without :process calls again before its \
             call at 1:1 (byte 0) has returned",
        ),
        (
            format!("{call}{}", "{:type :ok, :process 0, :f :write}"),
            "2:1 (byte 38): process 0 returns from :write, but called :read at 1:1 (byte 0)",
        ),
    ] {
        assert_eq!(error(Format::JepsenEdn, &text), expected, "{text}");
        let mut pairs = Pairs::new(jepsen_edn::Reader::new(text.as_bytes()));
        let paired = std::iter::from_fn(|| pairs.next_pair().transpose());
        let paired: Result<Vec<_>, FormatError> = paired.collect();
        assert_eq!(paired.expect_err("the same").to_string(), expected);
    }
}

#[test]
fn oddities_are_remarked_on() {
    let text = "\
        {:index 4, :time 20, :type :invoke, :process 0, :f :read}\n\
        {:index 5, :time 19, :type :info, :process 0, :f :read}\n\
        {:index 5, :time 30, :type :invoke, :process 0, :f :read}\n";
    let source = Source::Text(Format::JepsenEdn, Box::new(text.as_bytes()));
    let target = Target::Text(Format::JepsenEdn, Box::new(std::io::sink()));
    let Converted { remarks, .. } = convert(source, target).expect("odd, but a history");
    let found: Vec<String> =
        remarks.first.iter().map(|remark| format!("{}: {}", remark.place, remark.text)).collect();
    assert_eq!(
        found,
        [
            "2:1 (byte 58): the clock goes back from 20 ns to 19 ns",
            "3:1 (byte 114): index 5 after index 5",
            "3:1 (byte 114): process 0 goes on after an operation of unknown outcome",
        ]
    );
    let many = "{:type :info, :f :start, :process :nemesis, :index 0}\n".repeat(30);
    let source = Source::Text(Format::JepsenEdn, Box::new(many.as_bytes()));
    let target = Target::Text(Format::JepsenEdn, Box::new(std::io::sink()));
    let remarks = convert(source, target).expect("odd").remarks;
    assert_eq!((remarks.first.len(), remarks.omitted), (20, 9), "the first ones are kept");
}

/// In our own histories, too.
#[test]
fn clocks_of_watches_that_go_back_are_remarked_on() {
    let watch = |arrived: u64, body: &str| {
        format!("{{\"t\":\"watch\",\"w\":4,\"m\":0,\"r\":{arrived},\"rev\":1,\"b\":{body}}}\n")
    };
    let text = "{\"t\":\"header\",\"version\":1,\"workload\":\"\",\"seed\":1,\"system\":\"\",\
                \"first_revision\":1}\n"
        .to_owned()
        + &watch(50, "{\"created\":{\"k\":\"a\"}}")
        + &watch(40, "\"progress\"")
        + "{\"t\":\"end\",\"records\":3}\n";
    let source = Source::Text(Format::Jsonl, Box::new(text.as_bytes()));
    let target = Target::Text(Format::Jsonl, Box::new(std::io::sink()));
    let remarks = convert(source, target).expect("odd, but a history").remarks;
    assert_eq!(remarks.first.len(), 1);
    assert_eq!(remarks.first[0].place.line, 3);
    assert_eq!(remarks.first[0].text, "the clock of watch 4 goes back from 50 ns to 40 ns");
}

#[test]
#[expect(clippy::too_many_lines, reason = "one row for each thing that can be wrong")]
fn operations_that_a_model_does_not_have() {
    type Read = fn(&str) -> Option<FormatError>;
    fn events(text: &str) -> impl Events {
        jepsen_edn::Reader::new(text.as_bytes())
    }
    let register: Read =
        |text| interpret::cas_register(events(text), interpret::FailedCas::TellsNothing).err();
    let multi: Read = |text| interpret::multi_register(events(text)).err();
    let mutex: Read = |text| interpret::mutex(events(text)).err();
    let strings: Read = |text| interpret::string_kv(events(text)).err();
    let set: Read = |text| interpret::set(events(text)).err();
    let bank: Read = |text| interpret::bank(events(text)).err();
    let counter: Read = |text| interpret::counter(events(text)).err();
    let lists: Read = |text| interpret::list_append(events(text)).err();
    let registers: Read = |text| interpret::rw_register(events(text)).err();
    for (read, call, answer, expected) in [
        (register, ":f :add", "", "the model has :read, :write and :cas, but not :add"),
        (register, "", "", "the model has :read, :write and :cas, but not nothing"),
        (register, ":f :cas, :value 7", "", "the value of :cas is 7, not a pair [from to]"),
        (
            register,
            ":f :read, :value [1 nil]",
            ":value [2 3]",
            "the value of :read is [2 3], not a pair [key value] of the called key",
        ),
        (multi, ":f :read", "", "the model has :txn, but not :read"),
        (
            multi,
            ":f :txn, :value [[:inc :x 1]]",
            "",
            "the value of :txn is [[:inc :x 1]], not made of [:read key nil] and [:write key value]",
        ),
        (
            multi,
            ":f :txn, :value [[:read :x nil]]",
            ":value []",
            "the value of :txn is [], not an answer to each read",
        ),
        (mutex, ":f :lock", "", "the model has :acquire and :release, but not :lock"),
        (strings, ":f :put, :value 1", "", "the value of :put is 1, not a pair [key value]"),
        (strings, ":f :put, :value [1 2]", "", "the value of :put is 2, not a string"),
        (set, ":f :read", ":value nil", "the value of :read is nil, not a collection"),
        (
            bank,
            ":f :transfer, :value {:from 1}",
            "",
            "the value of :transfer is {:from 1}, not a map with :from, :to and :amount",
        ),
        (bank, ":f :read", ":value {0 :rich}", "the value of :read is :rich, not a whole number"),
        (counter, ":f :add, :value 1.5", "", "the value of :add is 1.5, not a whole number"),
        (lists, ":f :read", "", "the model has a transaction, :txn, but not :read"),
        (
            lists,
            ":value [[:append 1]]",
            ":value [[:append 1]]",
            "the value is [[:append 1]], not a vector of [function key value]",
        ),
        (
            lists,
            ":f :txn, :value [[:w 1 2]]",
            ":value [[:w 1 2]]",
            "the value of :txn is :w, not made of [:append key value] and [:r key list]",
        ),
        (
            lists,
            ":f :txn, :value [[:r 1 nil]]",
            ":value [[:r 1 7]]",
            "the value of :txn is 7, not a list",
        ),
        (
            registers,
            ":f :txn, :value [[:append 1 2]]",
            ":value [[:append 1 2]]",
            "the value of :txn is :append, not made of [:w key value] and [:r key value]",
        ),
        (
            registers,
            ":f :txn, :value [[:w 1 nil]]",
            ":value [[:w 1 nil]]",
            "the value of :txn is nil, not a value that a read tells from nothing",
        ),
    ] {
        let text = format!(
            "; the call is in line 2\n{{:type :invoke, :process 0, {call}}}\n{{:type :ok, :process \
             0, {answer}}}"
        );
        let found = read(&text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(found.to_string(), format!("2:1 (byte 24): {expected}"), "{text}");
    }
}

#[test]
fn our_own_lines() {
    let header = "{\"t\":\"header\",\"version\":1,\"workload\":\"\",\"seed\":1,\"system\":\"\",\
                  \"first_revision\":1}\n";
    let op = "{\"t\":\"op\",\"p\":1,\"m\":0,\"c\":10,\"r\":20,\"q\":{\"put\":{\"k\":\"a\"}},\
              \"o\":{\"ok\":{\"rev\":2,\"b\":{\"put\":{}}}}}\n";
    for (text, expected) in [
        (op.to_owned(), "1:1 (byte 0): the first record must be a header"),
        (format!("{header}{header}"), "2:1 (byte 81): a second header"),
        (
            format!("{header}{op}{op}"),
            "3:1: operations of process 1 overlap: called at 10 ns, but the one before returned at \
             20 ns",
        ),
        (
            format!("{header}{}", op.replace("\"r\":20", "\"r\":9")),
            "2:1: returned at 9 ns, before its call at 10 ns",
        ),
        (format!("{header}{op}"), "3:1: the history is cut off: the end record is missing"),
    ] {
        let mut records = native::Reader::new(text.as_bytes());
        let found = std::iter::from_fn(|| records.next_record().transpose()).find_map(Result::err);
        assert_eq!(found.expect("an error").to_string(), expected, "{text}");
    }
}

#[test]
fn reports() {
    let answered = |call: i64, returned: i64| {
        format!(
            "{{\"ClientId\":3,\"Input\":{{\"Type\":\"range\",\"Range\":{{\"Start\":\"a\",\"End\":\
             \"\",\"Limit\":0,\"Revision\":0}}}},\"Call\":{call},\"Output\":{{\"Range\":{{\"KVs\":\
             [],\"Count\":0}},\"Revision\":1}},\"Return\":{returned}}}\n"
        )
    };
    let typed = answered(1, 2);
    for (file, text, expected) in [
        (
            "operations.json",
            answered(5, 4),
            "1:1 (byte 0): returned at 4 ns, before its call at 5 ns",
        ),
        (
            "operations.json",
            answered(5, 9) + &answered(8, 10),
            "2:1 (byte 167): stream 3 calls at 8 ns, before its operation at 1:1 (byte 0) has \
             returned",
        ),
        ("operations.json", answered(-5, 9), "1:1 (byte 0): Call is negative"),
        (
            "operations.json",
            typed.replace("\"range\"", "\"drop\""),
            "1:1 (byte 0): unknown Type \"drop\"",
        ),
        (
            "operations.json",
            typed.replace("\"Type\":\"range\"", "\"Type\":\"txn\""),
            "1:1 (byte 0): the request of this Type is missing",
        ),
        ("operations.json", "{\"ClientId\":}".into(), "1:13 (byte 12): expected value"),
        ("operations.json", "{\"ClientId\":1}".into(), "1:14 (byte 13): missing field `Input`"),
        ("watch.json", "[]".into(), "1:1 (byte 0): `{` is expected, but here is `[`"),
        ("watch.json", "{\"Responses\":[]}".into(), "1:2 (byte 1): Responses before their Request"),
        ("watch.json", "{}".into(), "1:1 (byte 0): a watch without Request"),
        (
            "watch.json",
            "{\"Request\":{},\n\"Responses\":[{\"Time\":1},\n{\"Time\":x}]}".into(),
            "3:9 (byte 48): expected value",
        ),
        (
            "watch.json",
            "{\"Request\":{},\"Responses\":[{\"Events\":[{\"Type\":\"drop\"}]}]}".into(),
            "1:28 (byte 27): unknown Type \"drop\" of an event",
        ),
        (
            "watch.json",
            "{\"Request\":{},\"Responses\":[{\"Time\":-1}]}".into(),
            "1:28 (byte 27): Time is negative",
        ),
    ] {
        let folder = TempDir::new().expect("a folder");
        let client = folder.path().join("client-1");
        fs::create_dir(&client).expect("a folder");
        fs::write(client.join(file), &text).expect("written");
        let error = match robustness::Reader::open(folder.path()) {
            Err(error) => error,
            Ok(mut records) => std::iter::from_fn(|| records.next_record().transpose())
                .find_map(Result::err)
                .unwrap_or_else(|| panic!("{text}")),
        };
        let FormatError::In { path, source } = error else { panic!("{text}: {error}") };
        assert_eq!(path, format!("client-1/{file}"), "{text}");
        assert_eq!(source.to_string(), expected, "{text}");
    }
}
