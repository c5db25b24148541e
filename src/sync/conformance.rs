//! The suite that a lock strategy must pass.
