//! Rules that a test can leave out, to show that it finds their absence.

/// A rule of the far tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Rule {
    /// A write deletes the near key before it returns.
    WritesDelete = 1,
    /// A fill stores only under its claim.
    FillsClaim,
    /// A value that was neither a trusted hit nor stored deletes the near key before it is returned.
    BypassesDelete,
    /// A hit needs a proof that is not older than T, the `max_staleness`.
    HitsNeedProof,
    /// A tracker invalidates everything before it proves anything.
    JoiningFlushes,
    /// A proof is the time at which a ping was sent.
    ProofIsSending,
    /// The proof is read before the value, and the clock after the proof.
    ProofBeforeValue,
    /// A fill is stored only if its connection is to the run that is proved.
    FillsCheckRun,
    /// A near value expires when the far value does.
    FillsExpire,
    /// A ping of a cluster compares the slots of the master.
    PingsCompareSlots,
    /// A caller that is redirected changes the map.
    RedirectsChangeMap,
    /// A value that was stored without a proof ends T after it was asked for.
    BriefEnds,
    /// A server that a sentinel names is used only if it says that it is a master.
    NamedAreMasters,
    /// A tracker's session ends when a sentinel names another master.
    TrackersHearSentinels,
    /// A session that ends in this way takes its proofs back.
    MovesEndProofs,
    /// Data calls use no connection from before the proofs were taken back.
    GenerationsRenew,
    /// A read from a master that sentinels name asks whether the server is still a master.
    ReadsAskRole,
    /// What a tracker proves goes into the file to which it applied the changes, and into no other.
    ProofsStayInFile,
}

impl Rule {
    /// The rules of a single server, with their names.
    #[cfg(feature = "faults")]
    pub const ALL: [(&'static str, Rule); 11] = [
        ("writes-delete", Rule::WritesDelete),
        ("fills-claim", Rule::FillsClaim),
        ("bypasses-delete", Rule::BypassesDelete),
        ("hits-need-proof", Rule::HitsNeedProof),
        ("joining-flushes", Rule::JoiningFlushes),
        ("proof-is-sending", Rule::ProofIsSending),
        ("proof-before-value", Rule::ProofBeforeValue),
        ("fills-check-run", Rule::FillsCheckRun),
        ("fills-expire", Rule::FillsExpire),
        ("brief-ends", Rule::BriefEnds),
        ("proofs-stay-in-file", Rule::ProofsStayInFile),
    ];
}

#[cfg(feature = "faults")]
static LEFT_OUT: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

/// Leaves a rule out in this process from now on; `None` keeps all.
#[cfg(feature = "faults")]
pub fn leave_out(rule: Option<Rule>) {
    LEFT_OUT.store(rule.map_or(0, |rule| rule as u8), std::sync::atomic::Ordering::SeqCst);
}

/// Whether a rule is kept: always, except in tests.
#[inline(always)]
pub(crate) fn keeps(rule: Rule) -> bool {
    #[cfg(feature = "faults")]
    return LEFT_OUT.load(std::sync::atomic::Ordering::Relaxed) != rule as u8;
    #[cfg(not(feature = "faults"))]
    {
        let _ = rule;
        true
    }
}

#[cfg(feature = "faults")]
thread_local! {
    static AFTER_COPY: std::cell::RefCell<Option<Box<dyn Fn()>>> = const { std::cell::RefCell::new(None) };
}

/// Runs `work` in each later `get` of this thread, after the copy of a near value.
#[cfg(feature = "faults")]
pub fn after_copy(work: impl Fn() + 'static) {
    AFTER_COPY.set(Some(Box::new(work)));
}

/// Is called after a near value was copied.
#[inline(always)]
pub(crate) fn copied() {
    #[cfg(feature = "faults")]
    if let Some(work) = AFTER_COPY.take() {
        work();
        AFTER_COPY.set(Some(work));
    }
}
