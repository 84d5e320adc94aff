//! Samples, and the table made of them.

use super::load::Operation;
use crate::report;
use crate::server::System;

/// One slice on one system.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    /// Which system.
    pub(super) system: System,
    /// What it did.
    pub(super) operation: Operation,
    /// In which repetition.
    pub(super) repetition: usize,
    /// How many operations.
    pub(super) operations: u64,
    /// Server CPU until flushed, without the fold.
    pub(super) cpu_seconds: f64,
    /// Server CPU of the fold that these operations caused, and of waiting for its end.
    pub(super) fold_seconds: f64,
    /// Time under load.
    pub(super) elapsed_seconds: f64,
}

impl Sample {
    /// For progress.
    pub(super) fn describe(&self) -> String {
        let total = sum(std::slice::from_ref(self));
        format!(
            "{:?} on {}: {:.1} us of CPU per operation, {:.1} of fold, {:.0} operations/s",
            self.operation,
            self.system.name(),
            total.cpu_micros,
            total.fold_micros,
            total.rate
        )
    }
}

/// Slices of one kind put together.
struct Total {
    cpu_micros: f64,
    fold_micros: f64,
    rate: f64,
}

fn sum(samples: &[Sample]) -> Total {
    let operations: f64 = samples.iter().map(|sample| count(sample.operations)).sum();
    let per_operation = |seconds: f64| seconds / operations * 1e6;
    Total {
        cpu_micros: per_operation(samples.iter().map(|sample| sample.cpu_seconds).sum()),
        fold_micros: per_operation(samples.iter().map(|sample| sample.fold_seconds).sum()),
        rate: operations / samples.iter().map(|sample| sample.elapsed_seconds).sum::<f64>(),
    }
}

fn count(operations: u64) -> f64 {
    u32::try_from(operations).map_or(f64::INFINITY, f64::from)
}

/// The table: a row per operation, medians over repetitions and the spread of the ratio.
pub(super) fn lines(samples: &[Sample], setting: &str) -> Vec<String> {
    let heading = [
        "operation",
        "rusd us/op",
        "etcd us/op",
        "etcd / rusd",
        "least .. most",
        "rusd fold us/op",
        "etcd / rusd with fold",
        "rusd op/s",
        "etcd op/s",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for operation in [Operation::Fill, Operation::Put, Operation::Get] {
        if let Some(row) = row(samples, operation) {
            rows.push(row);
        }
    }
    let mut lines = vec![
        "Server CPU per operation: user and system time of all threads, until the engine has \
         flushed what was written."
            .to_owned(),
        String::new(),
        setting.to_owned(),
        String::new(),
    ];
    lines.extend(report::table(&rows));
    lines.push(String::new());
    lines.push(
        "Medians over the repetitions. The fold brings rusd's images up to its history when the \
         member is idle; it is counted apart (with the seconds of waiting for its end), and in the \
         ratio `with fold` on rusd's side."
            .to_owned(),
    );
    lines
}

fn row(samples: &[Sample], operation: Operation) -> Option<Vec<String>> {
    let repetitions = samples.iter().map(|sample| sample.repetition).max()? + 1;
    let total = |system: System, repetition: usize| {
        let matching: Vec<Sample> = samples
            .iter()
            .filter(|sample| {
                sample.system == system
                    && sample.operation == operation
                    && sample.repetition == repetition
            })
            .cloned()
            .collect();
        (!matching.is_empty()).then(|| sum(&matching))
    };
    let pairs: Vec<(Total, Total)> = (0..repetitions)
        .filter_map(|r| Some((total(System::Rusd, r)?, total(System::Etcd, r)?)))
        .collect();
    let of = |value: &dyn Fn(&(Total, Total)) -> f64| {
        let mut values: Vec<f64> = pairs.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let ratios = of(&|(rusd, etcd)| etcd.cpu_micros / rusd.cpu_micros);
    let with_fold = of(&|(rusd, etcd)| etcd.cpu_micros / (rusd.cpu_micros + rusd.fold_micros));
    Some(vec![
        format!("{operation:?}").to_lowercase(),
        format!("{:.1}", median(&of(&|(rusd, _)| rusd.cpu_micros))?),
        format!("{:.1}", median(&of(&|(_, etcd)| etcd.cpu_micros))?),
        format!("{:.2}", median(&ratios)?),
        format!("{:.2} .. {:.2}", ratios.first()?, ratios.last()?),
        format!("{:.1}", median(&of(&|(rusd, _)| rusd.fold_micros))?),
        format!("{:.2}", median(&with_fold)?),
        format!("{:.0}", median(&of(&|(rusd, _)| rusd.rate))?),
        format!("{:.0}", median(&of(&|(_, etcd)| etcd.rate))?),
    ])
}

/// Of sorted values: the middle one, or the mean of the two in the middle.
fn median(sorted: &[f64]) -> Option<f64> {
    let half = sorted.len() / 2;
    let upper = *sorted.get(half)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(*sorted.get(half.checked_sub(1)?)?, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(system: System, repetition: usize, cpu_seconds: f64) -> Sample {
        Sample {
            system,
            operation: Operation::Put,
            repetition,
            operations: 1_000_000,
            cpu_seconds,
            fold_seconds: if system == System::Rusd { 10.0 } else { 0.0 },
            elapsed_seconds: 20.0,
        }
    }

    #[test]
    fn a_row_has_medians_and_the_spread_of_the_ratio() {
        let samples = [
            sample(System::Rusd, 0, 10.0),
            sample(System::Etcd, 0, 40.0),
            sample(System::Rusd, 1, 10.0),
            sample(System::Etcd, 1, 50.0),
            sample(System::Rusd, 2, 10.0),
            sample(System::Etcd, 2, 60.0),
        ];
        let row = row(&samples, Operation::Put).unwrap();
        assert_eq!(
            row,
            ["put", "10.0", "50.0", "5.00", "4.00 .. 6.00", "10.0", "2.50", "50000", "50000"]
        );
        assert_eq!(super::row(&samples, Operation::Get), None, "nothing was measured");
    }

    #[test]
    fn slices_of_one_repetition_are_put_together() {
        let slices = [sample(System::Rusd, 0, 10.0), sample(System::Rusd, 0, 30.0)];
        assert!((sum(&slices).cpu_micros - 20.0).abs() < 1e-9);
    }
}
