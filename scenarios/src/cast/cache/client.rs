//! A cache server as its clients see it.

use sim_core::{Node, NodeId, net::rpc::CallError, time::Duration};

use super::messages::{CacheRequest, CacheResponse, Cached, Item, SetWhen};
use crate::cast::{Failure, caller::Caller};

/// Why a cache did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// It did not answer; what that says about the operation, see [`CallError`].
    #[error(transparent)]
    Call(#[from] CallError),
    /// The value is larger than the whole memory.
    #[error("the value is larger than the cache")]
    TooLarge,
    /// The value is no whole number, or became too large for one.
    #[error("the value is not a whole number")]
    NotANumber,
    /// The server answered something else than was asked.
    #[error("the cache gave an answer to another question")]
    Confused,
}

impl From<CacheError> for Failure {
    fn from(error: CacheError) -> Self {
        match error {
            CacheError::Call(error) => Self::new(format!("cache {}", error.label())),
            CacheError::TooLarge => Self::new("cache value too large"),
            CacheError::NotANumber => Self::new("cache value not a number"),
            CacheError::Confused => Self::new("cache confused"),
        }
    }
}

/// What a look-up with a lease found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// A fresh value.
    Hit(Cached),
    /// Nothing fresh, and the caller is the one to fill it, with [`CacheClient::set_leased`].
    Fill {
        /// The token that the fill must carry.
        lease: u64,
        /// The expired value, where the server keeps them.
        stale: Option<Cached>,
    },
    /// Nothing fresh, and somebody else is filling it: use the stale value, or ask again a little later.
    Wait {
        /// The expired value, where the server keeps them.
        stale: Option<Cached>,
    },
}

impl Lookup {
    /// The value, fresh or stale, where there is one.
    pub fn value(self) -> Option<Cached> {
        match self {
            Self::Hit(value) => Some(value),
            Self::Fill { stale, .. } | Self::Wait { stale } => stale,
        }
    }
}

/// A handle to a cache server, for one node. Each method is one call; without [`CacheClient::deadline`] it waits for as long
/// as the connection lives. Cloning is cheap.
#[derive(Clone)]
pub struct CacheClient(Caller);

impl CacheClient {
    /// A handle to a server.
    pub fn new(node: &Node, server: NodeId) -> Self {
        Self(Caller::new(node, server))
    }
    /// How long each operation may take.
    pub fn deadline(self, deadline: Duration) -> Self {
        Self(self.0.deadline(deadline))
    }
    /// Which server.
    pub fn server(&self) -> NodeId {
        self.0.server()
    }

    /// Sends any operation.
    ///
    /// # Errors
    /// [`CacheError::Call`] where there is no answer.
    pub async fn send(&self, request: &CacheRequest) -> Result<CacheResponse, CacheError> {
        Ok(self.0.ask(request).await?)
    }
    async fn done(&self, request: CacheRequest) -> Result<bool, CacheError> {
        match self.send(&request).await? {
            CacheResponse::Done(done) => Ok(done),
            CacheResponse::TooLarge => Err(CacheError::TooLarge),
            _ => Err(CacheError::Confused),
        }
    }

    /// The fresh value, or none.
    ///
    /// # Errors
    /// [`CacheError::Call`].
    pub async fn get(&self, key: &str) -> Result<Option<Cached>, CacheError> {
        match self.send(&CacheRequest::Get { key: key.to_owned() }).await? {
            CacheResponse::Found(cached) => Ok(Some(cached)),
            CacheResponse::Missing => Ok(None),
            _ => Err(CacheError::Confused),
        }
    }
    /// The fresh value; or a lease for one caller, and patience for the others.
    ///
    /// # Errors
    /// [`CacheError::Call`].
    pub async fn get_or_lease(&self, key: &str) -> Result<Lookup, CacheError> {
        match self.send(&CacheRequest::GetOrLease { key: key.to_owned() }).await? {
            CacheResponse::Found(cached) => Ok(Lookup::Hit(cached)),
            CacheResponse::Lease { lease, stale } => Ok(Lookup::Fill { lease, stale }),
            CacheResponse::Busy { stale } => Ok(Lookup::Wait { stale }),
            _ => Err(CacheError::Confused),
        }
    }
    /// The same, with patience: where somebody else fills the key and there is no stale value, it asks again after each
    /// `pause`. So a [`Lookup::Wait`] that it gives has a stale value.
    ///
    /// # Errors
    /// [`CacheError::Call`].
    pub async fn wait_or_lease(&self, key: &str, pause: Duration) -> Result<Lookup, CacheError> {
        loop {
            match self.get_or_lease(key).await? {
                Lookup::Wait { stale: None } => self.0.node().sleep(pause).await,
                answer => return Ok(answer),
            }
        }
    }
    /// Stores a value, whatever is there.
    ///
    /// # Errors
    /// [`CacheError::Call`], [`CacheError::TooLarge`].
    pub async fn set(&self, key: &str, item: Item) -> Result<(), CacheError> {
        self.set_when(key, item, SetWhen::Always).await.map(drop)
    }
    /// Stores a value where there is no fresh one; gives whether it did. Of several who try, one does.
    ///
    /// # Errors
    /// [`CacheError::Call`], [`CacheError::TooLarge`].
    pub async fn set_if_absent(&self, key: &str, item: Item) -> Result<bool, CacheError> {
        self.set_when(key, item, SetWhen::Absent).await
    }
    /// Stores a value under a lease; gives whether it did: not where a delete or another value has voided the lease.
    ///
    /// # Errors
    /// [`CacheError::Call`], [`CacheError::TooLarge`].
    pub async fn set_leased(&self, key: &str, item: Item, lease: u64) -> Result<bool, CacheError> {
        self.set_when(key, item, SetWhen::Lease(lease)).await
    }
    /// Stores a value where no higher [`Item::version`] is, or was deleted; gives whether it did.
    ///
    /// # Errors
    /// [`CacheError::Call`], [`CacheError::TooLarge`].
    pub async fn set_if_not_older(&self, key: &str, item: Item) -> Result<bool, CacheError> {
        self.set_when(key, item, SetWhen::NotOlder).await
    }
    /// Stores a value on a condition; gives whether it did.
    ///
    /// # Errors
    /// [`CacheError::Call`], [`CacheError::TooLarge`].
    pub async fn set_when(&self, key: &str, item: Item, when: SetWhen) -> Result<bool, CacheError> {
        self.done(CacheRequest::Set { key: key.to_owned(), item, when }).await
    }
    /// Removes a key and voids its lease; gives whether there was a fresh value.
    ///
    /// # Errors
    /// [`CacheError::Call`].
    pub async fn delete(&self, key: &str) -> Result<bool, CacheError> {
        self.done(CacheRequest::Delete { key: key.to_owned(), version: None }).await
    }
    /// Removes a key and leaves a mark, so that [`CacheClient::set_if_not_older`] stores no lower version than this.
    ///
    /// # Errors
    /// [`CacheError::Call`].
    pub async fn delete_version(&self, key: &str, version: u64) -> Result<bool, CacheError> {
        self.done(CacheRequest::Delete { key: key.to_owned(), version: Some(version) }).await
    }
    /// Removes a key if it has that value; gives whether it did.
    ///
    /// # Errors
    /// [`CacheError::Call`].
    pub async fn delete_if_equal(&self, key: &str, value: impl Into<Vec<u8>>) -> Result<bool, CacheError> {
        self.done(CacheRequest::DeleteIfEqual { key: key.to_owned(), value: value.into() }).await
    }
    /// Adds to a whole number and gives the sum. Where there is none it starts at 0 and lives for `ttl`.
    ///
    /// # Errors
    /// [`CacheError::Call`], [`CacheError::NotANumber`].
    pub async fn increment(&self, key: &str, by: i64, ttl: Option<Duration>) -> Result<i64, CacheError> {
        match self.send(&CacheRequest::Increment { key: key.to_owned(), by, ttl }).await? {
            CacheResponse::Number(number) => Ok(number),
            CacheResponse::NotANumber => Err(CacheError::NotANumber),
            _ => Err(CacheError::Confused),
        }
    }
    /// Gives a fresh value another time to live; gives whether there was one.
    ///
    /// # Errors
    /// [`CacheError::Call`].
    pub async fn touch(&self, key: &str, ttl: Duration) -> Result<bool, CacheError> {
        self.done(CacheRequest::Touch { key: key.to_owned(), ttl }).await
    }
}
