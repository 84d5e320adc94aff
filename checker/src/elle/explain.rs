//! What was found, in words.

use super::anomaly::Anomaly;
use super::names::Names;
use super::numbering::at;
use super::report::{Case, Dependency, Report, Step};
use super::transaction::{Element, MicroOp, Outcome, Transaction, TransactionId};

/// Everything that a report tells, one paragraph for each case.
pub fn report<M: MicroOp>(
    report: &Report,
    transactions: &[Transaction<M>],
    names: &Names,
) -> String {
    let explain = Explainer { transactions, names };
    let mut paragraphs = Vec::new();
    for anomaly in &report.anomaly_types {
        for case in report.cases(*anomaly) {
            paragraphs.push(explain.case(*anomaly, case));
        }
    }
    paragraphs.join("\n")
}

/// One case, of an anomaly: its name, the transactions, and what is wrong.
pub fn case<M: MicroOp>(
    anomaly: Anomaly,
    case: &Case,
    transactions: &[Transaction<M>],
    names: &Names,
) -> String {
    Explainer { transactions, names }.case(anomaly, case)
}

/// Why a transaction comes before another, for people: without their names, "x: 1, then 2".
pub(crate) fn reason_in_short(because: &Dependency, names: &Names) -> String {
    match because {
        Dependency::Ww { key, value, next } => {
            let (value, next) = (names.of_element(*value), names.of_element(*next));
            format!("{}: {value}, then {next}", names.of_key(*key))
        }
        Dependency::Wr { key, value } => {
            format!("{}: {}", names.of_key(*key), names.of_element(*value))
        }
        Dependency::Rw { key, value, next } => {
            let value = value.map_or("nothing".to_owned(), |value| names.of_element(value));
            format!("{}: {value}, then {}", names.of_key(*key), names.of_element(*next))
        }
        Dependency::Process { process } => format!("process {process}"),
        Dependency::Realtime { returned, invoked } => format!("event {returned} < {invoked}"),
    }
}

/// What a transaction is and did, in one line.
pub(crate) fn transaction<M: MicroOp>(own: &Transaction<M>, names: &Names) -> String {
    let mops: Vec<String> = own.mops.iter().map(|mop| mop.describe(names)).collect();
    let when = match (&own.outcome, own.returned) {
        (Outcome::Ok, Some(returned)) => format!("events {} to {returned}", own.invoked),
        (Outcome::Ok, None) => format!("event {}", own.invoked),
        (Outcome::Fail, _) => format!("event {}, aborted", own.invoked),
        (Outcome::Unknown, _) => format!("event {}, outcome unknown", own.invoked),
    };
    format!("process {}, {when}: {}", own.process, mops.join(", "))
}

pub(crate) struct Explainer<'a, M> {
    pub(crate) transactions: &'a [Transaction<M>],
    pub(crate) names: &'a Names,
}

impl<M: MicroOp> Explainer<'_, M> {
    fn case(&self, anomaly: Anomaly, case: &Case) -> String {
        let concerned = concerned(case);
        let mut lines = vec![anomaly.to_string()];
        for (place, id) in concerned.iter().enumerate() {
            let own = transaction(&self.transactions[at(id.0)], self.names);
            lines.push(format!("  T{} = {own}", place + 1));
        }
        lines.extend(self.words(anomaly, case).iter().map(|line| format!("  {line}")));
        lines.join("\n") + "\n"
    }

    /// What is wrong, the transactions called T1, T2 and so on in the order of [`concerned`].
    pub(crate) fn words(&self, anomaly: Anomaly, case: &Case) -> Vec<String> {
        let concerned = concerned(case);
        let name = |id: &TransactionId| {
            let place = concerned.iter().position(|own| own == id);
            place.map_or("nobody".to_owned(), |place| format!("T{}", place + 1))
        };
        self.lines(anomaly, case, &name)
    }

    fn lines(
        &self,
        anomaly: Anomaly,
        case: &Case,
        name: &dyn Fn(&TransactionId) -> String,
    ) -> Vec<String> {
        let element = |element: &Element| self.names.of_element(*element);
        let wrote = M::WROTE;
        match case {
            Case::Cycle { steps, shortest } => self.cycle(steps, *shortest, name),
            Case::Internal { transaction, mop, expected, prefix_unknown } => {
                vec![self.internal(*transaction, *mop, expected, *prefix_unknown)]
            }
            Case::FutureRead { key, element: own, .. } => {
                let (own, key) = (element(own), self.names.of_key(*key));
                vec![format!("T1 read {own} of {key} before it {wrote} it.")]
            }
            Case::Read { reader, writer, key, element: own } => {
                let (reader, own, key) = (name(reader), element(own), self.names.of_key(*key));
                let fault = match writer {
                    None => format!("nobody {wrote} it"),
                    Some(writer) if anomaly == Anomaly::G1b => {
                        format!("it is not the last that {} {wrote} to it", name(writer))
                    }
                    Some(writer) => format!("{}, which {wrote} it, aborted", name(writer)),
                };
                vec![format!("{reader} read {own} of {key}, but {fault}.")]
            }
            Case::DirtyUpdate { key, elements, .. } => {
                let (key, elements) = (self.names.of_key(*key), self.names.of_list(elements));
                vec![format!("{key} has {elements}, of which T1's is first; but T1 aborted.")]
            }
            Case::DuplicateElements { key, element: own, .. } => {
                vec![format!("T1 read {} twice in {}.", element(own), self.names.of_key(*key))]
            }
            Case::IncompatibleOrder { key, readers, lists } => {
                let key = self.names.of_key(*key);
                let lists = lists.each_ref().map(|list| self.names.of_list(list));
                let [one, other] = readers.each_ref().map(name);
                let read = format!("{one} read {key} = {}, {other} read {}", lists[0], lists[1]);
                vec![format!("{read}: neither is the beginning of the other.")]
            }
            Case::LostUpdate { key, version, transactions } => {
                let key = self.names.of_key(*key);
                let all: Vec<String> = transactions.iter().map(name).collect();
                let read =
                    format!("{} all read {key} = {}", all.join(", "), self.names.of_list(version));
                vec![format!("{read}, and each {wrote} something new.")]
            }
            Case::CyclicVersions { key, versions, sources } => {
                let of = |own: &Option<Element>| own.as_ref().map_or("nothing".to_owned(), element);
                let versions: Vec<String> = versions.iter().map(of).collect();
                let (key, versions) = (self.names.of_key(*key), versions.join(", "));
                vec![format!(
                    "The versions {versions} of {key} have no order, going by {sources:?}."
                )]
            }
            Case::DuplicateWrites { key, element: own, .. } => {
                let (own, key) = (element(own), self.names.of_key(*key));
                vec![format!("Both {wrote} {own} to {key}, so that no read tells whose it saw.")]
            }
            Case::EmptyTransactionGraph => {
                vec!["No transaction depends on another: nothing was checked.".to_owned()]
            }
        }
    }

    fn internal(
        &self,
        id: TransactionId,
        mop: usize,
        expected: &[Element],
        suffix: bool,
    ) -> String {
        let own = &self.transactions[at(id.0)].mops[mop];
        let expected = match expected {
            [] => "nothing".to_owned(),
            list => self.names.of_list(list),
        };
        let expected = if suffix { format!("what ends with {expected}") } else { expected };
        let what = own.describe(self.names);
        format!("T1 {what}, but by what it had done before it should have seen {expected}.")
    }

    fn cycle(
        &self,
        steps: &[Step],
        is_shortest: bool,
        name: &dyn Fn(&TransactionId) -> String,
    ) -> Vec<String> {
        let mut lines: Vec<String> = steps
            .iter()
            .map(|step| {
                let (from, to) = (name(&step.from), name(&step.to));
                format!("{from} comes before {to}: {}.", self.reason(&step.because, &from, &to))
            })
            .collect();
        lines.push("So each of them would have to come before itself.".to_owned());
        if !is_shortest {
            lines.push("(There may be a shorter cycle of this kind.)".to_owned());
        }
        lines
    }

    fn reason(&self, because: &Dependency, from: &str, to: &str) -> String {
        let wrote = M::WROTE;
        let element = |element: &Element| self.names.of_element(*element);
        match because {
            Dependency::Ww { key, value, next } => {
                let (value, next) = (element(value), element(next));
                let key = self.names.of_key(*key);
                format!("{from} {wrote} {value} to {key}, and {to} {wrote} {next} after that")
            }
            Dependency::Wr { key, value } => {
                let (value, key) = (element(value), self.names.of_key(*key));
                format!("{to} read {value} of {key}, which {from} {wrote}")
            }
            Dependency::Rw { key, value: Some(value), next } => {
                let (value, next) = (element(value), element(next));
                let key = self.names.of_key(*key);
                format!(
                    "{from} read {key} when {value} was its last, and {to} {wrote} {next} after that"
                )
            }
            Dependency::Rw { key, value: None, next } => {
                let (next, key) = (element(next), self.names.of_key(*key));
                format!(
                    "{from} read {key} before anything was in it, and {to} {wrote} {next} to it"
                )
            }
            Dependency::Process { process } => {
                format!("process {process} did {from}, and then {to}")
            }
            Dependency::Realtime { returned, invoked } => {
                format!(
                    "{from} had returned, at event {returned}, when {to} was called, at event {invoked}"
                )
            }
        }
    }
}

/// The transactions of a case, in the order in which it names them.
pub(crate) fn concerned(case: &Case) -> Vec<TransactionId> {
    match case {
        Case::Cycle { steps, .. } => steps.iter().map(|step| step.from).collect(),
        Case::Internal { transaction, .. } | Case::FutureRead { transaction, .. } => {
            vec![*transaction]
        }
        Case::Read { reader, writer, .. } => std::iter::once(*reader).chain(*writer).collect(),
        Case::DirtyUpdate { aborted, committed, .. } => vec![*aborted, *committed],
        Case::DuplicateElements { reader, .. } => vec![*reader],
        Case::IncompatibleOrder { readers, .. } => readers.to_vec(),
        Case::LostUpdate { transactions, .. } => transactions.clone(),
        Case::DuplicateWrites { writers, .. } => writers.to_vec(),
        Case::CyclicVersions { .. } | Case::EmptyTransactionGraph => Vec::new(),
    }
}
