//! Load generators: when requests come, and how long they took.

use scenarios::cast::{ClosedLoop, Keys, Load, OpenLoop, Reply, WebService};
use sim_core::{
    fault::{FaultKind, FaultPlan},
    record::Recording,
    rng::Delay,
    time::{Duration, ms, secs},
};

use crate::figures::*;

/// When the requests of a load came (the intended start), with their keys.
fn arrivals_with(load: Load, seed: u64, until: Duration, faults: FaultPlan) -> Vec<(f64, String)> {
    let mut sim = world_with(seed, until, faults);
    let notes = Notes::default();
    let noted = notes.clone();
    load.run(async move |node, request| {
        noted.write(node, format!("{}|{}", request.intended.as_nanos(), request.key));
        Ok(())
    })
    .add_to(&mut sim, "clients");
    run(sim);
    let parse = |text: String| {
        let (time, key) = text.split_once('|').expect("both were written");
        (time.parse::<f64>().expect("a number") / 1e9, key.to_owned())
    };
    notes.texts().into_iter().map(parse).collect()
}

fn arrivals(load: Load, seed: u64, until: Duration) -> Vec<f64> {
    arrivals_with(load, seed, until, FaultPlan::none()).into_iter().map(|(time, _)| time).collect()
}

fn between(times: &[f64], from: f64, to: f64) -> f64 {
    times.iter().filter(|t| (from..to).contains(*t)).count() as f64
}

#[test]
fn poisson_arrivals_have_their_mean_and_their_variance() {
    // 200 s at 100/s in windows of 1 s: the mean count is 100, its standard error sqrt(100 / 200) = 0.71; the variance over
    // the mean is 1, its standard error sqrt(2 / 199) = 0.1.
    let times = arrivals(OpenLoop::poisson(100.0), 1, secs(200));
    let counts: Vec<f64> =
        (0..200).map(|second| between(&times, f64::from(second), f64::from(second + 1))).collect();
    let average = mean(&counts);
    let variance = counts.iter().map(|c| (c - average) * (c - average)).sum::<f64>() / 199.0;
    assert!((average - 100.0).abs() < 4.0 * 0.71, "mean {average}");
    assert!((variance / average - 1.0).abs() < 4.0 * 0.1, "index of dispersion {}", variance / average);
}

#[test]
fn constant_arrivals_are_evenly_spaced_to_the_nanosecond() {
    let times = arrivals(OpenLoop::constant(7.0).from(ms(100)), 1, secs(20));
    assert_eq!(times.len(), 140); // 7 a second from 0.1 s on: the last one is due at 0.1 + 139/7 = 19.957 s
    for (k, time) in times.iter().enumerate() {
        assert!((time - (0.1 + k as f64 / 7.0)).abs() < 1e-9, "arrival {k} at {time}");
    }
}

#[test]
fn several_front_ends_are_together_as_even_as_one() {
    let mut split = arrivals(OpenLoop::constant(100.0).front_ends(3).at_most(100), 1, secs(5));
    split.sort_by(f64::total_cmp);
    assert_eq!(split, arrivals(OpenLoop::constant(100.0).at_most(100), 1, secs(5)));
}

#[test]
fn several_front_ends_share_a_poisson_rate() {
    // 4 x 25/s for 100 s: 10,000 expected, standard deviation 100.
    let times = arrivals(OpenLoop::poisson(100.0).front_ends(4), 3, secs(100));
    assert!((times.len() as f64 - 10_000.0).abs() < 400.0, "{}", times.len());
}

#[test]
fn a_ramp_brings_the_integral_of_its_rate() {
    let load = || OpenLoop::ramp(100.0, 300.0, secs(10));
    let even = arrivals(load().evenly(), 1, secs(20));
    assert_eq!(between(&even, 0.0, 10.0), 2_000.0); // (100 + 300) / 2 for 10 s
    assert_eq!(between(&even, 0.0, 5.0), 750.0); // (100 + 200) / 2 for 5 s
    assert_eq!(between(&even, 10.0, 20.0), 3_000.0);
    let chance = arrivals(load(), 1, secs(20));
    // Standard deviations sqrt(2,000) = 45 and sqrt(3,000) = 55.
    assert!((between(&chance, 0.0, 10.0) - 2_000.0).abs() < 4.0 * 45.0);
    assert!((between(&chance, 10.0, 20.0) - 3_000.0).abs() < 4.0 * 55.0);
}

#[test]
fn a_burst_is_only_in_its_time() {
    let times = arrivals(OpenLoop::burst(50.0, 500.0, secs(5), secs(2)).evenly(), 1, secs(10));
    assert_eq!(between(&times, 0.0, 5.0), 250.0);
    assert_eq!(between(&times, 5.0, 7.0), 1_000.0);
    assert_eq!(between(&times, 7.0, 10.0), 150.0);
}

#[test]
fn given_times_are_kept() {
    let times = [ms(50), ms(50), ms(700), secs(3)];
    assert_eq!(arrivals(OpenLoop::at(times).until(secs(2)), 1, secs(5)), [0.05, 0.05, 0.7]);
}

#[test]
fn a_load_fault_multiplies_the_rate_while_it_lasts() {
    let faults = || fault(secs(4), secs(2), FaultKind::Load(3.0), "clients");
    let times = |load: Load| -> Vec<f64> {
        arrivals_with(load, 1, secs(10), faults()).into_iter().map(|(time, _)| time).collect()
    };
    let even = times(OpenLoop::constant(100.0));
    assert_eq!(between(&even, 0.0, 4.0), 400.0);
    assert!((between(&even, 4.0, 6.0) - 600.0).abs() <= 2.0, "{}", between(&even, 4.0, 6.0));
    assert!((between(&even, 6.0, 10.0) - 400.0).abs() <= 2.0);
    // The fault compresses the same chance arrivals: before it nothing has changed.
    let (with, without) = (times(OpenLoop::poisson(100.0)), arrivals(OpenLoop::poisson(100.0), 1, secs(10)));
    let before = between(&without, 0.0, 4.0) as usize;
    assert_eq!(with[..before], without[..before]);
    // A slow generator notices too: one request in two seconds becomes twenty a second.
    let faults = fault(secs(4), secs(2), FaultKind::Load(40.0), "clients");
    let slow = arrivals_with(OpenLoop::constant(0.5), 1, secs(9), faults);
    assert_eq!(slow.iter().filter(|(time, _)| (4.0..6.0).contains(time)).count(), 40);
}

#[test]
fn a_load_fault_has_touched_the_requests_that_it_added_or_held_back() {
    let touched = |load: Load, factor: f64| {
        let mut sim = world_with(1, secs(10), fault(secs(4), secs(2), FaultKind::Load(factor), "clients"));
        load.run(async |_, _| Ok(())).add_to(&mut sim, "clients");
        run(sim).faults[0].touched
    };
    let constant = || OpenLoop::constant(100.0);
    // 300 a second for 2 s; the one that is due at the start may be on either side.
    assert!(touched(constant(), 3.0).abs_diff(600) <= 2);
    assert_eq!(touched(constant(), 1.0), 0);
    assert_eq!(touched(constant(), 0.0), 1, "the next one waits, and all others behind it");
    for factor in [0.0, 3.0] {
        assert_eq!(touched(constant().until(secs(3)), factor), 0, "over before it begins");
        assert_eq!(touched(constant().from(secs(7)), factor), 0, "begins after its end");
    }
    // Ten users think for 100 ms: 100 a second, then 300.
    let users = ClosedLoop::users(10, Delay::constant(ms(100)));
    assert!(touched(users, 3.0).abs_diff(600) <= 10);
}

#[test]
fn chance_streams_are_apart() {
    let times =
        |keys: Keys| arrivals_with(OpenLoop::poisson(50.0).keys(keys), 5, secs(10), FaultPlan::none());
    let (uniform, skewed) = (times(Keys::uniform(100)), times(Keys::zipf(100, 1.0)));
    let only_times = |of: &[(f64, String)]| of.iter().map(|(time, _)| *time).collect::<Vec<_>>();
    assert_eq!(only_times(&uniform), only_times(&skewed));
    assert_ne!(uniform, skewed);
    // And another rate leaves the keys alone.
    let keys = |rate: f64| -> Vec<String> {
        let load = OpenLoop::poisson(rate).keys(Keys::uniform(100)).at_most(100);
        arrivals_with(load, 5, secs(60), FaultPlan::none()).into_iter().map(|(_, key)| key).collect()
    };
    assert_eq!(keys(50.0), keys(20.0));
}

#[test]
fn zipf_keys_are_as_skewed_as_the_law_says() {
    let load = OpenLoop::constant(2_000.0).keys(Keys::zipf(100, 1.0).named("page"));
    let picked = arrivals_with(load, 1, secs(20), FaultPlan::none());
    let share = |key: &str| picked.iter().filter(|(_, k)| k == key).count() as f64 / picked.len() as f64;
    // Probabilities of ranks 1, 2 and 10 of 100: 1 / (r H(100)), H(100) = 5.1874. Standard errors over 40,000 draws: 0.002,
    // 0.0015, 0.0007.
    assert!((share("page:0") - 0.1928).abs() < 0.008);
    assert!((share("page:1") - 0.0964).abs() < 0.006);
    assert!((share("page:9") - 0.0193).abs() < 0.003);
}

#[test]
fn each_request_can_have_a_key_of_its_own() {
    let load = OpenLoop::constant(100.0).keys(Keys::each()).front_ends(4).at_most(100);
    let mut keys: Vec<String> =
        arrivals_with(load, 1, secs(2), FaultPlan::none()).into_iter().map(|(_, key)| key).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 100);
}

#[test]
fn nothing_comes_outside_start_stop_and_number() {
    let times = arrivals(OpenLoop::poisson(200.0).from(secs(2)).until(secs(4)), 1, secs(10));
    assert!(times.iter().all(|t| (2.0..4.0).contains(t)) && times.len() > 300);
    assert_eq!(arrivals(OpenLoop::poisson(200.0).at_most(17), 1, secs(10)).len(), 17);
    assert_eq!(arrivals(OpenLoop::poisson(200.0).at_most(17).front_ends(4), 1, secs(10)).len(), 17);
}

#[test]
fn a_closed_loop_obeys_its_identity() {
    // The machine repairman: 10 users, thinking 90 ms on average, one server of 10 ms on average. Mean value analysis gives
    // 83.2 requests a second and 30.19 ms; R = N / X - Z holds whatever they are.
    let mut sim = world(7, secs(400));
    sim.default_link(sim_core::net::Link::constant(Duration::from_nanos(1)));
    WebService::new(async |node, request| {
        let time = request.rng("work").duration(&Delay::exponential(ms(10)));
        node.work(time).await;
        Reply::ok("")
    })
    .cores(1)
    .add_to(&mut sim, "web");
    ClosedLoop::users(10, Delay::exponential(ms(90))).add_to(&mut sim, "users");
    let recording = run(sim);
    let times = sorted(&recording, "request");
    let (throughput, response) = (times.len() as f64 / 400.0, mean(&times));
    // Over some 33,000 cycles: the mean think time has a standard error of 0.5 ms.
    assert!((response - (10.0 / throughput - 0.090)).abs() < 0.002, "X {throughput}, R {response}");
    assert_near(throughput, 83.2, 0.02);
    assert_near(response, 0.030_19, 0.05);
}

/// A server that answers in 1 ms and stands still from 10 s to 20 s.
fn frozen(load: Load) -> Recording {
    let mut sim = world_with(1, secs(30), fault(secs(10), secs(10), FaultKind::Pause, "web"));
    WebService::new(async |_, _| Reply::ok("")).add_to(&mut sim, "web");
    load.until(secs(20)).add_to(&mut sim, "clients");
    run(sim)
}

#[test]
fn an_open_loop_sees_a_frozen_server_and_a_closed_one_hardly_does() {
    let open = sorted(&frozen(OpenLoop::constant(100.0)), "request");
    assert_eq!(open.len(), 2_000);
    // 1,000 requests wait 0 to 10 s, evenly: the mean over all 2,000 is 2.5 s, the p75 5 s, the p99 9.8 s.
    assert!((mean(&open) - 2.5).abs() < 0.01, "{}", mean(&open));
    assert!((quantile(&open, 0.75) - 5.0).abs() < 0.02);
    assert!((quantile(&open, 0.99) - 9.8).abs() < 0.02);
    assert!(quantile(&open, 0.49) < 0.002);
    // One user who waits has sent one request in those 10 s: about a thousand quick ones, and a single slow one.
    let closed = sorted(&frozen(ClosedLoop::users(1, Delay::constant(ms(9)))), "request");
    assert!(quantile(&closed, 0.99) < 0.002 && (990..=1_002).contains(&closed.len()), "{}", closed.len());
    assert!((9.9..10.1).contains(closed.last().unwrap()));
}

#[test]
fn a_client_that_stood_still_does_not_forget_who_waited() {
    let mut sim = world_with(1, secs(5), fault(secs(1), secs(1), FaultKind::Pause, "clients"));
    WebService::new(async |_, _| Reply::ok("")).add_to(&mut sim, "web");
    OpenLoop::constant(100.0).until(secs(3)).add_to(&mut sim, "clients");
    let times = sorted(&run(sim), "request");
    assert_eq!(times.len(), 300);
    assert!((0.99..1.01).contains(times.last().unwrap()), "{:?}", times.last());
    assert!((95..=102).contains(&times.iter().filter(|t| **t > 0.01).count()));
}

#[test]
fn every_request_ends_in_one_way_and_says_which() {
    let mut sim = world(1, secs(5));
    WebService::new(async |node, request| {
        match request.key.as_str() {
            "slow" => node.sleep(secs(10)).await,
            "bad" => return Reply::status(503),
            _ => {}
        }
        Reply::ok("")
    })
    .add_to(&mut sim, "web");
    sim.node("empty", async |_| {});
    let load = |key: &str| OpenLoop::constant(10.0).get("/hot").keys(key).deadline(ms(300)).until(secs(1));
    for key in ["good", "bad", "slow"] {
        load(key).add_to(&mut sim, key);
    }
    load("good").to("empty").add_to(&mut sim, "refused");
    let recording = run(sim);
    assert_eq!(count(&recording, "requests.started"), 40.0);
    assert_eq!(count(&recording, "requests.ok"), 10.0);
    assert_eq!(count(&recording, "requests.failed"), 30.0);
    for reason in ["timed_out", "status_503", "refused"] {
        assert_eq!(count(&recording, &format!("requests.failed.{reason}")), 10.0, "{reason}");
    }
    assert_eq!(sorted(&recording, "request.ok").len(), 10);
    let timed_out = sorted(&recording, "request").iter().filter(|t| **t == 0.3).count();
    assert_eq!(timed_out, 10, "the deadline is exact");
    // A trace for each request, and those that failed say so.
    let roots: Vec<_> = recording.spans.iter().filter(|s| recording.text(s.name) == "GET /hot").collect();
    assert!(roots.iter().all(|s| !s.parent.is_some()));
    assert_eq!(roots.len(), 40);
    let failed = roots.iter().filter(|s| matches!(s.status, sim_core::record::SpanStatus::Error(_))).count();
    assert_eq!(failed, 30);
}

#[test]
fn a_client_that_restarts_goes_on_from_now() {
    let faults = fault(secs(2), secs(2), FaultKind::Crash, "clients");
    let times = arrivals_with(OpenLoop::constant(10.0).until(secs(6)), 1, secs(9), faults);
    assert_eq!(times.len(), 40);
    assert!(times.iter().all(|(t, _)| !(2.0..4.0).contains(t)));
}
