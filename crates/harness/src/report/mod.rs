//! The results as text for a terminal and as a page for a browser.

mod charts;
mod growth;
mod html;
mod page;
mod panels;
mod table;
mod text;

pub use growth::plots;
pub use page::page;
pub use text::text;
