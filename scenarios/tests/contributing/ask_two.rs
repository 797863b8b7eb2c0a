//! # Asking only one
//!
//! A client asks a server, ten times a second. At 2 s the server stands still for a second, and so does everybody who waits
//! for it. A client that gives up after 50 ms and asks another server hardly notices.
//!
//! ## Predict
//! - How long does the slowest question take, with patience and without? A second; and 55 ms, of which 50 are patience.
//!
//! ## Watch
//! - The slowest `ask` trace: which server is asked when?
//!
//! ## Try next
//! - `--set patience=2ms`: who is answered now, and why?

use crate::prelude::*;

#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub struct AskTwo {
    /// How long the client waits for one server before it asks the next: the lesson.
    #[schemars(extend("x-range" = ["1ms", "1min"]))]
    pub patience: Duration,
}

const ANSWERED: &str = "every question is answered";
const QUICK: &str = "each answer within 100 ms";
const ALWAYS: &str = "no question waits for more than 100 ms";

/// A question; the answer is empty.
#[derive(Serialize, Deserialize)]
struct Ask {}
impl Request for Ask {
    type Response = ();
}

impl Lab for AskTwo {
    const ABOUT: About = About { until: secs(5), ..About::NONE };

    fn variants() -> Variants<Self> {
        Variants::broken("patient", Self { patience: secs(10) }, misses(QUICK).violates(ALWAYS))
            .fixed("impatient", Self { patience: ms(50) })
    }

    fn faults(self) -> FaultPlan {
        let pause = Fault::at(secs(2), "server-0 stands still", FaultKind::Pause);
        FaultPlan::none().with(pause.on("server-0").lasting(secs(1)))
    }

    fn build(self, sim: &mut Sim) {
        sim.default_link(Link::constant(ms(1)));
        let servers = [0, 1].map(|number| {
            sim.node(format!("server-{number}"), async |node: Node| {
                let server = node.clone();
                node.serve(async move |_call, _: Ask| server.work(ms(1)).await);
            })
        });
        let ask = async move |node: &Node, _| {
            for server in servers {
                if node.call(server, &Ask {}).deadline(self.patience).await.is_ok() {
                    return Ok(());
                }
            }
            Err("nobody answered".into())
        };
        let client = OpenLoop::constant(10.0).run(ask).named("ask").until(ms(4_900));
        client.always_within(ALWAYS, ms(100)).add_to(sim, "client");
    }

    fn expect() -> Expectations {
        Expectations::new()
            .goal(ANSWERED, |run| run.count("requests.ok").equals(run.count("requests.started")))
            // 50 ms of patience, 3 ms for the other server, and 2 to shake hands with it at the first call.
            .goal(QUICK, |run| run.histogram("request").max().at_most(ms(100)))
            // The pause lasts 1 s, and the question of 2.0 s is on its way when it begins. Ten wait, 1 ms of work each.
            .claim("patient", "one question waits for the end of the pause", |run| {
                run.histogram("request").max().within(ms(990)..=ms(1_020))
            })
            .figure("slowest question", |run| run.histogram("request").max())
    }
}
