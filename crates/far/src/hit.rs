//! Reads of the near tier alone, for callers that may not wait: the thread of an event loop, or one that holds a lock.

use crate::far::Far;

impl Far {
    /// The value of a key if the near tier can answer at once. It is copied to the memory that `room` makes of its length;
    /// `room` may be called again if a writer was faster. `None` does not mean that the key has no value: ask
    /// [`get`](Far::get). This call neither waits nor asks the server.
    #[inline]
    pub fn get_near<B: AsMut<[u8]>>(&self, key: impl AsRef<[u8]>, room: impl FnMut(usize) -> B) -> Option<B> {
        let key = key.as_ref();
        // Memory that is too small is a miss.
        self.0
            .near_hit(key, |near, values| values.get_with_vouched(key, room, |words| near.vouch(words)).ok().flatten())
    }
}
