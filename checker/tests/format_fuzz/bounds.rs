//! What one input may take: memory in proportion to its length, and an end.
//!
//! Memory is the system's count of the whole process (Linux): its peak is set back before each input,
//! so what is seen is what that input took on top of what was there. A length that is believed takes
//! address space even if nothing is written to it, so that is looked at, too.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a reader takes for an input of no length: buffers, and what the system counts late.
const RESIDENT_KIB: u64 = 16 << 10;
/// A form in memory takes up to some fifty times its text, and a history is held twice at most.
const RESIDENT_PER_BYTE: u64 = 128;
/// The allocator reserves address space in large pieces.
const RESERVED_KIB: u64 = 200 << 10;

/// The process' memory, in KiB.
#[derive(Debug, Clone, Copy)]
struct Memory {
    resident: u64,
    /// Since the peak was set back.
    resident_peak: u64,
    reserved_peak: u64,
}

impl Memory {
    fn now() -> Memory {
        let status = fs::read_to_string("/proc/self/status").expect("Linux");
        let field = |name: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with(name)).expect("a field");
            line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
        };
        Memory {
            resident: field("VmRSS:"),
            resident_peak: field("VmHWM:"),
            reserved_peak: field("VmPeak:"),
        }
    }
}

/// What inputs took.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// The most that one took.
    pub(crate) resident_kib: u64,
}

impl Taken {
    /// Runs `read` on an input of some length. What it gives, and why it took too much, if it did.
    pub(crate) fn measure<T>(
        &mut self,
        input_bytes: usize,
        own_kib: u64,
        read: impl FnOnce() -> T,
    ) -> (T, Option<String>) {
        fs::write("/proc/self/clear_refs", "5").expect("Linux lets a process set its peak back");
        let before = Memory::now();
        let done = read();
        let after = Memory::now();
        let resident = after.resident_peak.saturating_sub(before.resident);
        let reserved = after.reserved_peak - before.reserved_peak;
        self.resident_kib = self.resident_kib.max(resident);
        let bytes = u64::try_from(input_bytes).expect("usize fits u64");
        let allowed = own_kib + RESIDENT_KIB + RESIDENT_PER_BYTE * bytes / 1024;
        if resident > allowed {
            let why = format!("took {resident} KiB of memory, of which {allowed} are allowed");
            return (done, Some(why));
        }
        let allowed = allowed + RESERVED_KIB;
        let why = || format!("took {reserved} KiB of addresses, of which {allowed} are allowed");
        (done, (reserved > allowed).then(why))
    }
}

/// Inputs that were begun and ended.
static BEGUN: AtomicU64 = AtomicU64::new(0);
static ENDED: AtomicU64 = AtomicU64::new(0);

/// Ends the process if one input goes on for longer than `limit`, on a thread of its own: a hang
/// does not return to whoever called it.
pub(crate) fn watch_for_hangs(limit: Duration, what: String) {
    let _watching = std::thread::spawn(move || {
        loop {
            let begun = BEGUN.load(Ordering::SeqCst);
            // How long this is, is the limit itself: a hang gives no event to wait for.
            std::thread::sleep(limit);
            if BEGUN.load(Ordering::SeqCst) == begun && ENDED.load(Ordering::SeqCst) < begun {
                eprintln!("{what}: a hang: an input went on for {limit:?} and more");
                std::process::exit(1);
            }
        }
    });
}

/// Notes that an input begins, until what is given is dropped.
pub(crate) fn begin() -> Begun {
    BEGUN.fetch_add(1, Ordering::SeqCst);
    Begun
}

/// An input that is being read.
pub(crate) struct Begun;

impl Drop for Begun {
    fn drop(&mut self) {
        ENDED.fetch_add(1, Ordering::SeqCst);
    }
}
