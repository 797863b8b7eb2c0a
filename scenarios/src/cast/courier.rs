//! Numbered datagrams: a sender that may send again until it is told, and a recipient that may look at the numbers.
//!
//! A datagram is sent once and may be lost, late, doubled or overtaken. The [`Courier`] keeps what was not acknowledged and
//! sends it again; the [`Recipient`] acknowledges, and its [`Order`](delivery::Order) says what it does about copies and gaps.
//! Both halves are switches, so that a lab can show what each of them cures.

use std::{cell::RefCell, collections::BTreeSet, rc::Rc};

use delivery::{Arrival, Order, Sequencer};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sim_core::{
    Node, NodeId,
    record::{Counter, SpanIndex},
    time::Duration,
};

/// A message with a number: 0 for the sender's first, one more for each that follows.
pub trait Numbered: Serialize + DeserializeOwned + 'static {
    /// Its number.
    fn number(&self) -> u64;
}

/// What says that a message of that number has come. Its name is the packet's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Which.
    pub number: u64,
}

/// Sends numbered messages from one node to another: see the module. Each is a trace of its own, with all its sendings.
///
/// Metric: counter `courier.sent`, each sending.
pub struct Courier {
    node: Node,
    to: NodeId,
    resend_after: Option<Duration>,
    open: Rc<RefCell<BTreeSet<u64>>>,
    sent: Counter,
}

impl Courier {
    /// A sender of this node, which has no other mailbox. With `resend_after` it sends each message again after that long, until
    /// it is acknowledged; without it once.
    pub fn new(node: &Node, to: NodeId, resend_after: Option<Duration>) -> Self {
        let (open, mut acks) = (Rc::new(RefCell::new(BTreeSet::new())), node.mailbox::<Ack>());
        let acknowledged = Rc::clone(&open);
        node.spawn_detached(async move {
            loop {
                let Ack { number } = acks.recv().await.message;
                acknowledged.borrow_mut().remove(&number);
            }
        });
        Self { node: node.clone(), to, resend_after, open, sent: node.counter("courier.sent") }
    }
    /// Sends a message, in a task and a trace of its own.
    pub fn send(&self, trace: &str, message: impl Numbered) {
        let (number, open, node) = (message.number(), Rc::clone(&self.open), self.node.clone());
        let (to, resend_after, sent) = (self.to, self.resend_after, self.sent.clone());
        open.borrow_mut().insert(number);
        let trace = self.node.trace(trace).attribute("number", number);
        self.node.spawn_detached(trace.run(async move {
            while open.borrow().contains(&number) {
                node.send(to, &message);
                sent.increment();
                let Some(time) = resend_after else { break };
                node.sleep(time).await;
            }
        }));
    }
    /// How many messages are not acknowledged.
    pub fn open(&self) -> usize {
        self.open.borrow().len()
    }
}

/// Takes numbered messages of one sender: see the module.
#[derive(Clone, Copy, Debug)]
pub struct Recipient {
    /// Whether each arrival is acknowledged, copies too.
    pub acknowledges: bool,
    /// What is done with copies and with what comes too early.
    pub order: Order,
}

impl Recipient {
    /// Passes messages on, for as long as the node is up. Each is a span `append`, from its arrival until it is passed on.
    pub async fn receive<M: Numbered>(self, node: &Node, deliver: impl FnMut(M) + 'static) {
        let mut mailbox = node.mailbox::<M>();
        let list = Rc::new(List {
            node: node.clone(),
            sequencer: RefCell::new(Sequencer::new(self.order)),
            deliver: RefCell::new(deliver),
        });
        loop {
            let received = mailbox.recv().await;
            let (span, from) = (received.span(node, "append").start(), received.from);
            let number = received.message.number();
            if self.acknowledges {
                node.inside(span, || node.send(from, &Ack { number }));
            }
            let arrival = list.sequencer.borrow_mut().arrive(number, (received.message, span));
            match arrival {
                Err(_) => {
                    node.inside(span, || node.event("ignored", "it came before"));
                    node.end_span(span);
                }
                Ok(Arrival::Held(Some(time))) => {
                    let (node, list) = (node.clone(), Rc::clone(&list));
                    node.clone().spawn_detached(async move {
                        node.sleep(time).await;
                        list.sequencer.borrow_mut().held_too_long(number);
                        list.pass_on();
                    });
                }
                Ok(_) => {}
            }
            list.pass_on();
        }
    }
}

struct List<M, F> {
    node: Node,
    sequencer: RefCell<Sequencer<(M, SpanIndex)>>,
    deliver: RefCell<F>,
}

impl<M, F: FnMut(M)> List<M, F> {
    /// Passes on what is ready.
    fn pass_on(&self) {
        loop {
            let ready = self.sequencer.borrow_mut().next();
            let Some((message, span)) = ready else { return };
            (self.deliver.borrow_mut())(message);
            self.node.end_span(span);
        }
    }
}
