//! What a node of a cluster says in `CLUSTER NODES` about itself and about the other masters.

use crate::slots::SlotSet;

/// What a node says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub id: String,
    /// The address at which it was asked.
    pub address: String,
    pub is_master: bool,
    /// The epoch with which it got its slots. It is raised when slots are taken over.
    pub epoch: u64,
    pub slots: SlotSet,
    /// A hash of the slots whose keys are being moved away.
    pub migrating: u64,
    /// Host time before it was asked: of two answers, the later one counts.
    pub asked: u64,
}

/// Another node, as this one sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Other {
    pub id: String,
    pub address: String,
    pub slots: SlotSet,
}

/// The answer to `CLUSTER NODES`.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub own: Said,
    /// The other masters that are not lost.
    pub masters: Vec<Other>,
}

impl View {
    /// Reads the answer of the node at `address`, which was asked at this host time.
    pub(crate) fn parse(text: &str, address: &str, asked: u64) -> Option<Self> {
        let host = address.rsplit_once(':').map_or("", |(host, _)| host);
        let (mut own, mut masters) = (None, Vec::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            let line = Line::parse(line)?;
            let has = |flag: &str| line.flags.split(',').any(|found| found == flag);
            if has("myself") {
                own = Some(line.said(address, has("master"), asked)?);
            } else if has("master") && !["fail", "handshake", "noaddr"].into_iter().any(has) {
                masters.push(Other { id: line.id.to_owned(), address: line.address(host)?, slots: line.slots()? });
            }
        }
        Some(Self { own: own?, masters })
    }

    /// Whether this node sees another as a master that is not lost.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.masters.iter().any(|other| other.id == id)
    }
}

/// `ID IP:PORT@BUS[,NAME] FLAGS MASTER PING PONG EPOCH LINK SLOTS...`
struct Line<'a> {
    id: &'a str,
    place: &'a str,
    flags: &'a str,
    epoch: u64,
    slots: Vec<&'a str>,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace();
        let (id, place, flags) = (fields.next()?, fields.next()?, fields.next()?);
        let epoch = fields.nth(3)?.parse().ok()?;
        fields.next()?;
        Some(Self { id, place, flags, epoch, slots: fields.collect() })
    }

    fn said(&self, address: &str, is_master: bool, asked: u64) -> Option<Said> {
        let leaving: Vec<&str> =
            self.slots.iter().filter(|slot| slot.starts_with('[') && slot.contains("->-")).copied().collect();
        Some(Said {
            id: self.id.to_owned(),
            address: address.to_owned(),
            is_master,
            epoch: self.epoch,
            slots: self.slots()?,
            migrating: xxhash_rust::xxh3::xxh3_64(leaving.join(" ").as_bytes()),
            asked,
        })
    }

    /// The slots that it has; entries in brackets are slots that are being moved.
    fn slots(&self) -> Option<SlotSet> {
        let mut slots = SlotSet::default();
        self.slots.iter().filter(|slot| !slot.starts_with('[')).try_for_each(|range| slots.add(range))?;
        Some(slots)
    }

    /// The address of the node of this line. Without an IP address, it is on the host of the node that was asked.
    fn address(&self, host: &str) -> Option<String> {
        let place = self.place.split(',').next()?.split('@').next()?;
        let (ip, port) = place.rsplit_once(':')?;
        let _: u16 = port.parse().ok()?;
        Some(format!("{}:{port}", if ip.is_empty() { host } else { ip }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
        aa 127.0.0.1:7000@17000,h0.example,shard-id=1 myself,master - 0 1700 12 connected 0-5459 5461 [93->-bb] [7-<-cc]\n\
        bb 10.0.0.2:7001@17001 master - 0 1700 2 connected 5462-10922\n\
        cc :7002@17002 master - 0 1700 3 connected 10923-16383\n\
        dd 10.0.0.4:7003@17003 slave aa 0 1700 12 connected\n\
        ee ::1:7004@17004 master,fail - 0 1700 4 disconnected\n\
        ff 10.0.0.6:0@0 master,noaddr - 0 1700 4 disconnected\n";

    #[test]
    fn a_node_tells_of_itself_and_where_the_other_masters_are() {
        let view = View::parse(TEXT, "127.0.0.1:7000", 99).unwrap();
        let own = &view.own;
        assert_eq!((own.id.as_str(), own.address.as_str(), own.is_master), ("aa", "127.0.0.1:7000", true));
        assert_eq!((own.epoch, own.asked, own.slots.len()), (12, 99, 5461));
        assert!(own.slots.has(5459) && !own.slots.has(5460) && own.slots.has(5461));
        let others: Vec<_> = view.masters.iter().map(|other| (other.id.as_str(), other.address.as_str())).collect();
        assert_eq!(others, [("bb", "10.0.0.2:7001"), ("cc", "127.0.0.1:7002")]);
        assert!(view.has("bb") && !view.has("dd") && !view.has("ee"));
    }

    #[test]
    fn slots_that_are_leaving_make_a_difference_and_those_that_come_do_not() {
        let of = |text: &str| View::parse(text, "h:1", 0).unwrap().own;
        let other = of(&TEXT.replace("[93->-bb]", ""));
        assert_ne!(of(TEXT).migrating, other.migrating);
        assert_eq!(of(TEXT).migrating, of(&TEXT.replace("[7-<-cc]", "")).migrating);
        assert_eq!(of(TEXT).slots, other.slots);
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let whole = TEXT.lines().next().unwrap();
        for bad in ["", "x", "\n", &whole.replace("myself,", ""), &whole.replace(" 12 ", " x ")] {
            assert!(View::parse(bad, "h:1", 0).is_none(), "{bad:?}");
        }
        assert!(View::parse(&whole.replace("5461", "16384"), "h:1", 0).is_none());
        assert!(View::parse(&TEXT.replace("10.0.0.2:7001@", "10.0.0.2:x@"), "h:1", 0).is_none());
        for len in 0..TEXT.len() {
            drop(View::parse(&TEXT[..len], "h:1", 0));
        }
    }
}
