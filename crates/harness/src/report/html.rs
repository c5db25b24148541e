//! HTML building blocks of the page.

use std::fmt::Display;

/// Text, escaped for HTML.
pub(super) fn text(text: impl Display) -> String {
    let mut out = String::new();
    for c in text.to_string().chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

/// A section of the page: a heading, a lead sentence and a body.
pub(super) fn section(id: &str, title: &str, lead: &str, body: &str) -> String {
    format!("<section id=\"{id}\">\n<h2>{title}</h2>\n<p class=\"soft\">{lead}</p>\n{body}</section>\n")
}
