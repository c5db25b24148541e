//! The answers of a node that does not have a key.

use crate::error::Error;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    /// The slot belongs to the node at this address.
    Moved(String),
    /// The slot is being moved, and this key is already at the node at this address.
    Ask(String),
    /// The keys of the command are on both sides of a slot that is being moved.
    TryAgain,
    /// The cluster has no master for the slot, at the moment.
    Down,
}

impl Redirect {
    /// What an error of the node at `address` says; `None` for other errors.
    pub(super) fn of(error: &Error, address: &str) -> Option<Self> {
        let Error::Server(text) = error else { return None };
        let mut words = text.split_ascii_whitespace();
        match words.next()? {
            "MOVED" => Some(Self::Moved(place(words.nth(1)?, address)?)),
            "ASK" => Some(Self::Ask(place(words.nth(1)?, address)?)),
            "TRYAGAIN" => Some(Self::TryAgain),
            "CLUSTERDOWN" | "MASTERDOWN" => Some(Self::Down),
            _ => None,
        }
    }
}

/// `HOST:PORT`; a missing host is that of the node that answered.
fn place(place: &str, address: &str) -> Option<String> {
    let (host, port) = place.rsplit_once(':')?;
    let _: u16 = port.parse().ok()?;
    let own = address.rsplit_once(':')?.0;
    Some(format!("{}:{port}", if host.is_empty() || host == "?" { own } else { host }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_told_from_other_errors() {
        let of = |text: &str| Redirect::of(&Error::Server(text.into()), "10.0.0.1:7000");
        assert_eq!(of("MOVED 3999 10.0.0.2:6381"), Some(Redirect::Moved("10.0.0.2:6381".into())));
        assert_eq!(of("ASK 3999 :6381"), Some(Redirect::Ask("10.0.0.1:6381".into())));
        assert_eq!(of("MOVED 3999 ?:6381"), Some(Redirect::Moved("10.0.0.1:6381".into())));
        assert_eq!(of("MOVED 1 ::1:6381"), Some(Redirect::Moved("::1:6381".into())));
        assert_eq!(of("TRYAGAIN Multiple keys request during rehashing of slot"), Some(Redirect::TryAgain));
        assert_eq!(of("CLUSTERDOWN Hash slot not served"), Some(Redirect::Down));
        for other in ["", "MOVED", "MOVED 1", "MOVED 1 x", "MOVED 1 h:x", "WRONGTYPE MOVED 1 h:1"] {
            assert_eq!(of(other), None, "{other}");
        }
        assert_eq!(Redirect::of(&Error::Connection("MOVED 1 h:1".into()), "h:1"), None);
    }
}
