//! What is set for which place, of the whole process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use crate::NAMES;
use crate::terms::{Action, Terms};

/// Something was set since the start; until then a place costs one look.
static IS_USED: AtomicBool = AtomicBool::new(false);

static PLACES: LazyLock<Mutex<Places>> = LazyLock::new(|| Mutex::new(Places::none_set()));

/// What is set for each place.
pub(crate) struct Places(BTreeMap<&'static str, Option<Terms>>);

/// In gofail's words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Unknown,
    Disabled,
    BadTerms,
}

impl Refusal {
    pub(crate) fn text(&self) -> &'static str {
        match self {
            Refusal::Unknown => "failpoint: failpoint does not exist",
            Refusal::Disabled => "failpoint: failpoint is disabled",
            Refusal::BadTerms => "failpoint: could not parse terms",
        }
    }

    pub(crate) fn to_set(&self) -> String {
        format!("fail to set failpoint: {}", self.text())
    }
}

/// All places. No place does anything until this is let go.
pub(crate) fn places() -> MutexGuard<'static, Places> {
    PLACES.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Places {
    /// None does anything.
    pub(crate) fn none_set() -> Places {
        Places(NAMES.iter().map(|name| (*name, None)).collect())
    }

    /// Sets `NAME=TERMS;NAME=TERMS`; an error is in words.
    pub(crate) fn set_several(&mut self, text: &str) -> Result<(), String> {
        for one in text.split(';').filter(|one| !one.is_empty()) {
            let (name, terms) = one
                .split_once('=')
                .ok_or_else(|| format!("fail to parse failpoint: bad failpoint {one:?}"))?;
            self.set(name, terms).map_err(|refusal| refusal.to_set())?;
        }
        Ok(())
    }

    /// Sets what a place does.
    pub(crate) fn set(&mut self, name: &str, text: &str) -> Result<(), Refusal> {
        let place = self.0.get_mut(name).ok_or(Refusal::Unknown)?;
        *place = Some(Terms::parse(text).ok_or(Refusal::BadTerms)?);
        IS_USED.store(true, Ordering::Release);
        Ok(())
    }

    /// Lets a place do nothing.
    pub(crate) fn disable(&mut self, name: &str) -> Result<(), Refusal> {
        let place = self.0.get_mut(name).ok_or(Refusal::Unknown)?;
        place.take().map(drop).ok_or(Refusal::Disabled)
    }

    /// What is set for a place.
    pub(crate) fn terms(&self, name: &str) -> Result<&Terms, Refusal> {
        self.0.get(name).ok_or(Refusal::Unknown)?.as_ref().ok_or(Refusal::Disabled)
    }

    /// Every name with its terms.
    pub(crate) fn list(&self) -> String {
        let line = |(name, terms): (&&str, &Option<Terms>)| {
            format!("{name}={}\n", terms.as_ref().map_or("", |terms| &terms.text))
        };
        self.0.iter().map(line).collect()
    }
}

/// Does what is set for a place; what it returns, if it fails.
pub(crate) fn evaluate(name: &'static str) -> Option<String> {
    if !IS_USED.load(Ordering::Acquire) {
        return None;
    }
    let action = places().0.get_mut(name).expect("the place is in the list").as_mut()?.next()?;
    match action {
        Action::Off => None,
        Action::Return(reason) => Some(reason),
        Action::Sleep(time) => {
            std::thread::sleep(time);
            None
        }
        Action::Print => {
            eprintln!("failpoint print: {name}");
            None
        }
        Action::Panic(reason) => {
            eprintln!("failpoint panic: {}", reason.as_deref().unwrap_or(name));
            // As in Go, where a panic ends the process and nothing is put in order.
            std::process::exit(2)
        }
    }
}
