//! # One of everything
//!
//! A lab for one test. What the catalogue's labs record of a kind seldom or never is all here: links to other traces, events
//! at one instant, each type of attribute with its extremes, each kind of span, failures with and without a reason, spans
//! without length, spans that a crash or the end of the run cuts short, clocks that are wrong, and a trace that is larger than
//! one request may be.
//!
//! ## Predict
//! - Will Jaeger tell all of it again?
//!
//! ## Watch
//! - The test.
//!
//! ## Try next
//! - Another span.

use scenarios::prelude::*;
use sim_core::fault::Offset;

/// See the module.
#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub struct OneOfEverything {
    /// How many spans the widest trace has below its root.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub width: u32,
}

/// A question that takes long to answer.
#[derive(Serialize, Deserialize)]
struct Ask {
    work: Duration,
}
impl Request for Ask {
    type Response = String;
}

/// Handed over without an answer: which span it came from.
#[derive(Serialize, Deserialize)]
struct HandOver {
    from: SpanIndex,
}

impl Lab for OneOfEverything {
    const ABOUT: About = About { until: secs(3), ..About::NONE };

    fn variants() -> Variants<Self> {
        // A request takes 30,000 spans at most (`viz`, REQUEST_SPANS_MAX): this trace is cut in two.
        Variants::broken("everything", Self { width: 31_000 }, misses("all answer at once"))
            .control("narrow", Self { width: 3 })
    }

    fn faults(self) -> FaultPlan {
        FaultPlan::none().with(Fault::at(secs(1), "server-1 dies", FaultKind::Crash).on("server-1"))
    }

    fn build(self, sim: &mut Sim) {
        sim.default_link(Link::constant(us(137)));
        let ahead = Offset::ahead(ms(250) + ns(7));
        let behind = Offset::behind(secs(40));
        let servers = [
            sim.node(NodeSpec::new("server-0").region("eu-west-1").clock_offset(ahead), serve),
            sim.node(NodeSpec::new("server-1").region("us-east-2").clock_offset(behind), serve),
        ];
        sim.node("client", async move |node: Node| {
            // The very first nanosecond of the run has spans too.
            let typed = every_type(&node).await;
            let mut others = vec![typed];
            others.extend(without_length(&node).await);
            others.extend(failures_and_kinds(&node).await);
            events(&node).await;
            links(&node, &others).await;
            between_nodes(&node, servers).await;
            wide(&node, self.width).await;
            // Ends with the run, and so do its children.
            let for_ever = async { node.span("and its child").run(node.sleep(secs(60))).await };
            node.trace("never ends").run(for_ever).await;
        });
    }

    fn expect() -> Expectations {
        // server-1 is dead before it has done two seconds of work: whoever asked it waits for a second.
        Expectations::new().goal("all answer at once", |run| run.spans("ask").roots().max().at_most(ms(10)))
    }
}

async fn serve(node: Node) {
    node.serve(async move |call, ask: Ask| {
        let server = call.node();
        server.event("heard", "");
        server.span("working").run(server.work(ask.work)).await;
        "done".to_owned()
    });
    let mut mailbox = node.mailbox::<HandOver>();
    loop {
        let from = mailbox.recv().await.message.from;
        // A trace of its own, on another node, which says where it came from.
        node.trace("handed over").kind(SpanKind::Consumer).run(async { node.link(from) }).await;
    }
}

async fn every_type(node: &Node) -> SpanIndex {
    let typed = node.trace("types").kind(SpanKind::Internal);
    let typed =
        typed.attribute("int.least", i64::MIN).attribute("int.most", i64::MAX).attribute("int.none", 0_i64);
    let typed = typed.attribute("int.beyond", u64::MAX).attribute("yes", true).attribute("no", false);
    let typed = typed.attribute("time", ms(1_500)).attribute("text.none", "");
    let typed =
        [0.1, 1.0 / 3.0, 2.0, -0.0, 5e-324, f64::MAX, f64::MIN, f64::INFINITY, f64::NEG_INFINITY, f64::NAN]
            .into_iter()
            .zip(0..)
            .fold(typed, |typed, (value, index): (f64, u32)| {
                typed.attribute(&format!("float.{index}"), value)
            });
    let typed = typed
        .attribute("text", "Zürich \"quoted\" \\ \n tab\t \u{1} \u{7f} \u{fffd} 日本 🦀")
        .attribute("text.long", "long ".repeat(5_000))
        .attribute("", "a key without a name")
        .attribute("replaced", 1_i64)
        .attribute("replaced", "the last value stands")
        .attribute("sim.start_ns", "gives way to the exporter's own");
    let inside = async {
        node.sleep(ns(1)).await;
        node.attribute("written later", true);
        node.attribute("int.none", 0.0);
        node.current_span()
    };
    typed.run(inside).await
}

/// Spans that begin and end at one instant: roots, children, and a child that outlives its parent.
async fn without_length(node: &Node) -> Vec<SpanIndex> {
    let alone = node.trace("instant").kind(SpanKind::Producer).attribute("alone", true).instant();
    let family = node.trace("at once").run(async {
        node.event("nothing takes time", "");
        node.span("child").run(async { node.event("nor does this", "in no time") }).await;
        node.span("child").instant();
        node.spawn_detached({
            let node = node.clone();
            async move { node.span("outlives its parent").run(node.sleep(us(10))).await }
        });
        node.current_span()
    });
    vec![alone, family.await]
}

async fn failures_and_kinds(node: &Node) -> Vec<SpanIndex> {
    let mut spans = Vec::new();
    for reason in ["no answer in 50ms: \"why?\"\n", ""] {
        let failing = async {
            node.fail(reason);
            node.sleep(us(1)).await;
            node.current_span()
        };
        spans.push(node.trace("fails").run(failing).await);
    }
    // The later reason stands.
    node.trace("fails").run(async { ["first", "then"].map(|reason| node.fail(reason)) }).await;
    for kind in
        [SpanKind::Internal, SpanKind::Server, SpanKind::Client, SpanKind::Producer, SpanKind::Consumer]
    {
        let inside = async {
            node.sleep(ns(999)).await;
            node.current_span()
        };
        spans.push(node.trace("kind").kind(kind).run(inside).await);
    }
    spans
}

async fn events(node: &Node) {
    let busy = async {
        node.event("first", "at the start");
        for detail in ["b", "a", ""] {
            node.event("one name, one instant", detail);
        }
        node.event("another name, the same instant", "\u{1f980}");
        for round in 0..50 {
            node.sleep(ns(1 + round)).await;
            node.event("round", &round.to_string());
        }
        node.event("last", "at the end");
    };
    node.trace("busy").run(busy).await;
}

async fn links(node: &Node, others: &[SpanIndex]) {
    let joins = async {
        for &other in others.iter().rev() {
            node.link(other);
        }
        // Inside a trace there are parents and no links: this one is refused.
        node.link(node.current_span());
        let child = async { others.iter().for_each(|&other| node.link(other)) };
        node.span("and its child").run(child).await;
    };
    node.trace("joins").run(joins).await;
}

async fn between_nodes(node: &Node, servers: [NodeId; 2]) {
    for server in servers {
        let inside = async { node.send(server, &HandOver { from: node.current_span() }) };
        node.trace("hands over").kind(SpanKind::Producer).run(inside).await;
    }
    let asks = servers.map(|server| async move {
        // One answers; the other is dead after one second of two, so its span and the one inside are cut short.
        let work = if server == servers[0] { us(333) } else { secs(2) };
        let asking = async {
            if let Err(error) = node.call(server, &Ask { work }).deadline(ms(1_200)).await {
                node.fail(error.label());
            }
        };
        node.trace("ask").run(asking).await;
    });
    combine::join_all(asks).await;
}

async fn wide(node: &Node, width: u32) {
    let leaves = async {
        for number in 0..width {
            let leaf = node.span("leaf").attribute("n", number);
            if number.is_multiple_of(2) {
                leaf.instant();
            } else {
                leaf.run(node.sleep(ns(u64::from(number)))).await;
            }
        }
    };
    node.trace("wide").run(leaves).await;
}
