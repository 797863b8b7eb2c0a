//! What every client handle is made of: whose it is, whom it asks, and for how long it waits.

use std::future::Future;

use sim_core::{
    Node, NodeId,
    net::rpc::{CallError, Request},
    time::Duration,
};

/// One server as one node sees it. The clients of the cast's servers say what can be asked, this asks it.
#[derive(Clone)]
pub(super) struct Caller {
    node: Node,
    server: NodeId,
    deadline: Option<Duration>,
}

impl Caller {
    /// Waits for as long as the connection lives.
    pub(super) fn new(node: &Node, server: NodeId) -> Self {
        Self { node: node.clone(), server, deadline: None }
    }
    /// Waits for no answer longer than that.
    pub(super) fn deadline(self, deadline: Duration) -> Self {
        Self { deadline: Some(deadline), ..self }
    }
    /// Whose it is.
    pub(super) fn node(&self) -> &Node {
        &self.node
    }
    /// Whom it asks.
    pub(super) fn server(&self) -> NodeId {
        self.server
    }
    /// Asks, and waits for the answer; the server is told of the deadline.
    pub(super) async fn ask<R: Request>(&self, request: &R) -> Result<R::Response, CallError> {
        let call = self.node.call(self.server, request);
        match self.deadline {
            Some(deadline) => call.deadline(deadline).await,
            None => call.await,
        }
    }
    /// Waits for something else under the same deadline, such as for a connection.
    pub(super) async fn in_time<T, E: From<CallError>>(
        &self,
        waiting: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        match self.deadline {
            Some(deadline) => {
                self.node.timeout(deadline, waiting).await.unwrap_or_else(|| Err(CallError::TimedOut.into()))
            }
            None => waiting.await,
        }
    }
}
