//! The traces that a learner is sent to, as they are drawn in the terminal: a change of what they tell is seen in review.

use scenarios::find;
use sim_core::record::RecordingLevel;
use viz::terminal::{Colour, waterfall, worst_trace};

fn worst(lab: &str, variant: &str) -> String {
    let lab = find(lab).unwrap();
    let plan = lab.plan(variant, 42, &[]).unwrap();
    let recording = lab.run(&plan, RecordingLevel::Full).unwrap();
    let trace = worst_trace(&recording).expect("the lab records traces");
    waterfall(&recording, trace, 80, 24, Colour::Never)
}

#[test]
fn the_slowest_page_of_the_herd_waits_for_the_database() {
    insta::assert_snapshot!(worst("thundering-herd", "naive"));
}

#[test]
fn the_slowest_product_page_spends_its_time_in_one_scan() {
    insta::assert_snapshot!(worst("finding-slow-service", "unindexed"));
}
