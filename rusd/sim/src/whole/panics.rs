//! Panics in tasks, which a runtime keeps to itself.

use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    static SEEN: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on, panics on this thread are seen.
pub(super) fn begin() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            SEEN.with_borrow_mut(|seen| {
                seen.get_or_insert_with(|| panic.to_string());
            });
            before(panic);
        }));
    });
    SEEN.take();
}

/// The first one since then.
pub(super) fn seen() -> Option<String> {
    SEEN.take()
}
