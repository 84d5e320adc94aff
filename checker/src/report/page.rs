//! What every page for a browser has: a head, the colours in light and dark, and text as markup.
//!
//! A page is one file: nothing is loaded from elsewhere.

const STYLE: &str = include_str!("page.css");

/// What is around the content of a page.
pub struct Frame {
    /// Before it: down to the heading.
    pub before: String,
    /// After it.
    pub after: &'static str,
}

/// What is around the content of a page; `style` comes after what all pages have.
pub fn frame(title: &str, style: &str) -> Frame {
    let title = escape(title);
    // An empty icon of its own, so that a browser asks for none.
    let before = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{title}</title>\n<style>\n{STYLE}{style}</style>\n\
         </head>\n<body>\n<main>\n<h1>{title}</h1>\n"
    );
    Frame { before, after: "</main>\n</body>\n</html>\n" }
}

/// Text as markup.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
