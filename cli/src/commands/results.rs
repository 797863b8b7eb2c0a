//! What `scenario` and `replay` do with the runs that they have made: show them, write them, send them.

use clap::Args;
use scenarios::lab::LabEntry;
use sim_core::plan::Plan;

use crate::{
    asked::Asked,
    console::Console,
    delivery::{Delivery, DeliveryArguments},
    document::{self, RunDocument},
    failure::{Failure, Status},
    runs::Session,
    show,
};

/// How results are wanted.
#[derive(Debug, Args)]
pub(super) struct ResultArguments {
    /// Print one JSON document instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    delivery: DeliveryArguments,
}

impl ResultArguments {
    /// Checks, before anything is run, where the runs of these plans are to go.
    pub(super) fn read(
        &self,
        console: &Console<'_>,
        lab: &LabEntry,
        plans: &[Plan],
        asked: &Asked,
    ) -> Result<Delivery, Failure> {
        self.delivery.read(console, lab, plans, asked)
    }
}

/// Shows runs and lets them out: the end of `scenario` and of `replay`.
pub(super) fn tell(
    session: &Session<'_>,
    delivery: &Delivery,
    arguments: &ResultArguments,
    console: &mut Console<'_>,
) -> Result<Status, Failure> {
    if !arguments.json {
        // Before anything is sent: that may take long, and may fail.
        console.print(&show::session(session, console.width()))?;
        console.flush()?;
    }
    let delivered = delivery.carry_out(session);
    if arguments.json {
        console.print_raw(document::text(&RunDocument::of(session, delivered.as_ref())).as_bytes())?;
    } else {
        let width = console.width();
        console.print(&show::ending(
            session,
            delivered.as_ref(),
            delivery.epoch(),
            &arguments.delivery.jaeger,
            width,
        ))?;
    }
    match delivered.and_then(|delivered| delivered.complaint) {
        Some(complaint) => Err(Failure::Export(complaint)),
        None => Ok(session.status()),
    }
}
