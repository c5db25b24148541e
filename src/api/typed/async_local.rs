//! Near copies in tokio tasks.

use super::async_handle::AsyncTyped;
use super::local::Local;
use super::search::End;
use crate::api::create::{CreateOptions, CreatorOutput};
use crate::api::task::Task;
use crate::error::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;

/// A [`Local`] for tokio tasks, made by [`Local::to_async`]: a call that waits holds no thread. It needs the features
/// `typed` and `tokio`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let cache = kennel::Options::new().create(dir.path().join("cache"))?;
/// use kennel::{CreateOptions, LocalOptions};
/// let rates = cache.typed::<Vec<f64>>().local(&LocalOptions::new()).to_async();
/// let first = rates.get_or_create("rates", &CreateOptions::new(), async || vec![1.08, 0.92]).await?;
/// assert_eq!(rates.get("rates")?, Some(first));
/// # Ok(())
/// # }
/// ```
pub struct AsyncLocal<T> {
    local: Local<T>,
    typed: AsyncTyped<T>,
}

impl<T> Clone for AsyncLocal<T> {
    fn clone(&self) -> Self {
        Self { local: self.local.clone(), typed: self.typed.clone() }
    }
}

impl<T> fmt::Debug for AsyncLocal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncLocal").field(&self.local).finish()
    }
}

impl<T: Serialize + DeserializeOwned> Local<T> {
    /// This handle for tokio tasks, with the same decoded values. It also needs the feature `tokio`.
    #[must_use]
    pub fn to_async(&self) -> AsyncLocal<T> {
        AsyncLocal { local: self.clone(), typed: self.typed().to_async() }
    }
}

impl<T: Serialize + DeserializeOwned> AsyncLocal<T> {
    /// The handle that this one was made from.
    #[must_use]
    pub fn local(&self) -> &Local<T> {
        &self.local
    }

    /// The handle for writes: this one only reads and creates.
    #[must_use]
    pub fn typed(&self) -> &AsyncTyped<T> {
        &self.typed
    }

    /// [`Local::get`] for tasks.
    ///
    /// # Errors
    /// Those of [`Local::get`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Arc<T>>> {
        self.local.get(key)
    }

    /// [`Local::get_or_create`] for tasks. Each call is a separate owner, as with
    /// [`AsyncCache::get_or_create`](crate::AsyncCache::get_or_create).
    ///
    /// # Errors
    /// Those of [`Local::get_or_create`].
    pub async fn get_or_create<R: CreatorOutput<T>, F: Future<Output = R>>(
        &self,
        key: impl AsRef<[u8]>,
        how: &CreateOptions,
        create: impl FnOnce() -> F,
    ) -> Result<Arc<T>, R::Error> {
        let key = key.as_ref();
        if let Some(value) = self.local.fresh(key, how) {
            return Ok(value);
        }
        let task = how.task_or(Task::unique);
        match self.typed.search(key, &how.for_value(), task).await? {
            End::Found(found) => Ok(self.local.keep_found(key, found)),
            End::Create(claim) => self.typed.created(claim, task, create).await.map(Arc::new),
            // A search with `needs_value` never ends with a remembered absence.
            End::Absent => task.run_async(create).await.into_result().map(Arc::new),
        }
    }
}
