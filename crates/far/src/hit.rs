//! Reads of the near tier alone, for callers that may not wait: the thread of an event loop, or a thread that holds a
//! lock.

use crate::far::Far;

impl Far {
    /// The value of a key if the near tier can answer at once. The value is copied to memory that `room` returns for
    /// its length; `room` is called again if a writer changed the value meanwhile. `None` does not mean that the key
    /// has no value: ask [`get`](Far::get). This call neither waits nor asks the server.
    #[inline]
    pub fn get_near<B: AsMut<[u8]>>(&self, key: impl AsRef<[u8]>, room: impl FnMut(usize) -> B) -> Option<B> {
        let key = key.as_ref();
        // Memory that is too small is a miss.
        self.0
            .near_hit(key, |near, values| values.get_with_vouched(key, room, |words| near.vouch(words)).ok().flatten())
    }
}
