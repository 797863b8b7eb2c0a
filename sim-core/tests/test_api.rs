//! A scenario as a user's test: what a failure says, what is kept of it, and what the environment may change.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use sim_core::{
    net::rpc::Request,
    record::PropertyKind,
    search::{
        generate::{Arm, Swarm},
        scenario::Scenario,
        shrink::Effort,
        testing::{Seeds, regressions},
    },
    time::{ms, secs},
};

#[derive(Serialize, Deserialize)]
struct Ask;
impl Request for Ask {
    type Response = ();
}

const ANSWERED: &str = "each question is answered";
const LATE: &str = "a question is asked twice";

/// A client that asks a server; one with patience asks again until the server is back.
fn questions(patience: bool, runs: &Arc<AtomicUsize>) -> Scenario {
    let runs = Arc::clone(runs);
    Scenario::new("questions", secs(4), move |_, sim| {
        runs.fetch_add(1, Ordering::Relaxed);
        let server = sim.node("server-1", async |node| {
            node.serve(async |_call, _: Ask| ());
            std::future::pending::<()>().await;
        });
        sim.node("client", async move |node| {
            for number in 0..20 {
                node.sleep(ms(100)).await;
                if !node.next_operation() {
                    continue;
                }
                let question = node.invoke(0, "ask", "", &number);
                let mut asked = 1;
                let mut answer = node.call(server, &Ask).deadline(ms(20)).await;
                while patience && answer.is_err() {
                    node.sleep(ms(10)).await;
                    answer = node.call(server, &Ask).deadline(ms(20)).await;
                    asked += 1;
                }
                node.sometimes(LATE, asked > 1);
                node.always(ANSWERED, answer.is_ok(), || format!("question {number} is lost"));
                question.end_with(&answer);
            }
        });
    })
    .faults(Swarm::new("server", secs(2)).armed(&[Arm::Crash, Arm::Pause]).without_budget())
}

fn broken() -> Scenario {
    questions(false, &Arc::default())
}

/// A file that does not exist yet.
fn fresh(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("regressions").join(name);
    let _ = fs::remove_file(&path);
    path
}

fn message_of(test: Seeds<'_>) -> String {
    let panic = catch_unwind(AssertUnwindSafe(|| test.assert_holds())).expect_err("the test fails");
    panic.downcast_ref::<String>().expect("with a message").clone()
}

#[test]
fn a_failure_tells_its_story_and_is_kept_and_run_first_next_time() {
    let path = fresh("first_next_time.toml");
    let runs = Arc::default();
    let scenario = questions(false, &runs);
    let message = message_of(scenario.seeds(0..100).regressions(&path));
    println!("{message}");
    let lines: Vec<&str> = message.lines().collect();
    assert!(
        lines[0].starts_with("`each question is answered` (always) does not hold: question "),
        "{message}"
    );
    assert!(lines[1].starts_with("seed ") && lines[1].contains(", shrunk in "), "{message}");
    assert_eq!(lines[2], "1 node, 1 fault, 1 operation, 0 deliveries");
    assert!(
        message.contains("\n  1. ") && message.contains("violated: each question is answered"),
        "{message}"
    );
    assert!(lines.iter().any(|line| line.starts_with("without fault `") && line.ends_with(": passes")));
    assert_eq!(
        *lines.last().unwrap(),
        format!(
            "SHAKETABLE_PLAN={}#1 cargo test -p sim-core a_failure_tells_its_story_and_is_kept_and_run_first_next_time \
             -- --exact --include-ignored",
            path.display()
        )
    );
    let text = fs::read_to_string(&path).unwrap();
    let kept = regressions::read(&path).unwrap();
    assert_eq!(kept.len(), 1, "{text}");
    assert_eq!(kept[0].property, ANSWERED);
    assert!(lines[1].starts_with(&format!("seed {},", kept[0].found_by)));

    // Next time: the kept plan and, since it fails, nothing else.
    runs.store(0, Ordering::Relaxed);
    let again = message_of(scenario.seeds(0..100).regressions(&path));
    assert!(again.contains(&format!("\nplan {}#1:\n1 node, 1 fault, ", path.display())), "{again}");
    assert!(runs.load(Ordering::Relaxed) < 10, "{} runs", runs.load(Ordering::Relaxed));
    let of_the_story =
        |text: &str| text.lines().filter(|line| line.contains("s  ")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(of_the_story(&again), of_the_story(&message));
    assert_eq!(fs::read_to_string(&path).unwrap(), text, "nothing is kept twice");

    // The mended twin meets the kept plan too, and holds.
    let runs = Arc::default();
    let mended = questions(true, &runs);
    mended.seeds(0..30).regressions(&path).assert_holds();
    // Each seed builds its world twice: once to know who is there, once to run.
    assert_eq!(runs.load(Ordering::Relaxed), 2 * 30 + 1);
}

#[test]
fn plans_are_kept_in_order_of_finding_and_the_rest_of_the_file_stays() {
    let path = fresh("order.toml");
    let scenario = broken();
    let quick = Effort { executions: 50, ..Effort::default() };
    let _ = message_of(scenario.seeds(0..50).effort(quick).regressions(&path));
    // The plan is left without operations, so that it holds, and somebody adds a comment.
    let mut found = regressions::read(&path).unwrap().remove(0);
    found.plan.operations = Some([].into());
    fs::remove_file(&path).unwrap();
    assert_eq!(regressions::keep(&path, &found), Ok(1));
    let harmless = format!("{}\n# it cost us a night\n", fs::read_to_string(&path).unwrap());
    fs::write(&path, &harmless).unwrap();
    let message = message_of(scenario.seeds(50..100).effort(quick).regressions(&path));
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with(&harmless), "{text}");
    let kept = regressions::read(&path).unwrap();
    assert_eq!(kept.len(), 2);
    assert!(kept[0].found_by < 50 && kept[1].found_by >= 50);
    assert!(message.contains("order.toml#2 cargo test"), "{message}");
}

#[test]
fn a_file_that_cannot_be_understood_is_never_overwritten() {
    let path = fresh("torn.toml");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let torn = "[[plan]]\nproperty = \"each que";
    fs::write(&path, torn).unwrap();
    let scenario = broken();
    let message = message_of(scenario.seeds(0..100).regressions(&path));
    assert!(message.contains("torn.toml: TOML parse error at line 2"), "{message}");
    assert!(message.contains("the file is left as it is"), "{message}");
    assert_eq!(fs::read_to_string(&path).unwrap(), torn);
    // Neither by the test of a broken twin.
    let test = scenario.seeds(0..100).regressions(&path);
    assert!(catch_unwind(AssertUnwindSafe(|| test.expect_failure(ANSWERED))).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), torn);
}

#[test]
fn without_a_file_the_seed_is_replayed_and_a_path_through_a_file_is_refused() {
    let not_a_folder = fresh("not_a_folder");
    fs::create_dir_all(not_a_folder.parent().unwrap()).unwrap();
    fs::write(&not_a_folder, "").unwrap();
    let scenario = broken();
    let message = message_of(scenario.seeds(0..100).regressions(not_a_folder.join("plans.toml")));
    assert!(message.contains("not_a_folder/plans.toml: Not a directory"), "{message}");
    let message = message_of(scenario.seeds(0..100));
    assert!(message.lines().last().unwrap().starts_with("SHAKETABLE_SEEDS="), "{message}");
}

#[test]
fn the_message_is_the_same_with_one_worker_and_with_three() {
    let scenario = broken();
    let with = |workers| message_of(scenario.seeds(0..100).workers(workers));
    assert_eq!(with(1), with(3));
}

#[test]
fn a_broken_twin_gives_its_shrunk_plan_and_keeps_the_first() {
    let path = fresh("twin.toml");
    let scenario = broken();
    let shrunk = scenario.seeds(0..100).regressions(&path).expect_failure(ANSWERED);
    assert_eq!(shrunk.failure.property, ANSWERED);
    assert_eq!((shrunk.after.faults, shrunk.after.operations), (1, 1));
    assert_eq!(regressions::read(&path).unwrap()[0].plan, shrunk.plan);
    let again = scenario.seeds(0..100).regressions(&path).expect_failure(ANSWERED);
    assert_eq!(again.plan, shrunk.plan);
    assert_eq!(regressions::read(&path).unwrap().len(), 1);

    let mended = questions(true, &Arc::default());
    let panic = catch_unwind(AssertUnwindSafe(|| mended.seeds(0..20).expect_failure(ANSWERED)));
    let panic = panic.map(|_| ()).expect_err("a twin that holds is no broken twin");
    assert_eq!(
        panic.downcast_ref::<String>().unwrap(),
        "`each question is answered` fails with no seed of 0..20"
    );
    let panic =
        catch_unwind(AssertUnwindSafe(|| mended.seeds(0..20).regressions(&path).expect_failure(ANSWERED)));
    let panic = panic.map(|_| ()).expect_err("nor is one whose kept plans all hold");
    assert!(panic.downcast_ref::<String>().unwrap().contains("none of its 1 plans of"), "{panic:?}");
}

#[test]
fn what_no_seed_reaches_fails_the_test() {
    let lucky = Scenario::new("lucky", secs(1), |_, sim| {
        sim.node("coin", async |node| {
            let heads = node.rng("coin").chance(0.5);
            node.sometimes("heads", heads);
            node.sometimes("the coin stands", false);
        });
    })
    .expect(PropertyKind::Sometimes, "the coin is lost");
    let message = message_of(lucky.seeds(0..50));
    assert!(
        message.starts_with("never reached with seeds 0..50: `the coin is lost`, `the coin stands`\n"),
        "{message}"
    );
    assert!(message_of(lucky.seeds(5..5)).contains("nothing was tested"));
}

#[test]
fn a_property_that_must_be_checked_and_is_not_fails_the_run() {
    let idle = Scenario::new("idle", secs(1), |_, sim| {
        sim.node("sleeper", async |_| {});
    })
    .expect(PropertyKind::Always, "it moves");
    let message = message_of(idle.seeds(0..3));
    assert!(
        message.starts_with("`it moves` (always) does not hold: it was never checked\nseed 0, "),
        "{message}"
    );
}

// ---- the environment: each of these runs in a process of its own ----

#[test]
#[ignore = "run by the tests of the environment"]
fn broken_questions_hold() {
    broken().seeds(0..100).regressions("regressions/environment.toml").assert_holds();
}

#[test]
#[ignore = "run by the tests of the environment"]
fn mended_questions_hold() {
    let runs = Arc::default();
    let mended = questions(true, &runs);
    mended.seeds(0..30).assert_holds();
    println!("{} worlds", runs.load(Ordering::Relaxed));
}

/// Runs one test of this program with these settings; gives whether it passed, and what it printed.
fn in_a_process(test: &str, flags: &[&str], settings: &[(&str, &str)]) -> (bool, String) {
    let program = std::env::current_exe().expect("a test knows its program");
    let output = Command::new(program)
        .arg(test)
        .args(flags)
        .arg("--nocapture")
        .env("CARGO_MANIFEST_DIR", env!("CARGO_TARGET_TMPDIR"))
        .env_remove("SHAKETABLE_SEEDS")
        .env_remove("SHAKETABLE_PLAN")
        .envs(settings.iter().copied())
        .output()
        .expect("the program starts");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("it prints text"));
    (output.status.success(), text.concat())
}

#[test]
fn the_replay_line_replays() {
    let path = fresh("environment.toml");
    let (passed, printed) = in_a_process("broken_questions_hold", &["--exact", "--include-ignored"], &[]);
    assert!(!passed && path.exists(), "{printed}");
    let line = printed.lines().find(|line| line.starts_with("SHAKETABLE_PLAN=")).expect(&printed);
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(words[0], "SHAKETABLE_PLAN=regressions/environment.toml#1");
    assert_eq!(words[1..4], ["cargo", "test", "-p"]);
    assert_eq!(words[6], "--");
    // Cargo hands over what stands after the dashes, and the name.
    let (name, value) = words[0].split_once('=').unwrap();
    let (passed, again) = in_a_process(words[5], &words[7..], &[(name, value)]);
    assert!(!passed && again.contains("1 failed"), "{again}");
    let story = |text: &str| {
        let told = text.split_once("\n\n  1. ").expect(text).1;
        told.split_once("\nreplay it with").expect(told).0.to_owned()
    };
    assert_eq!(story(&again), story(&printed));
    // The mended twin holds under it: one world, no seed.
    let (passed, held) = in_a_process("mended_questions_hold", &words[7..], &[(name, value)]);
    assert!(passed && held.contains("\n1 worlds\n"), "{held}");
    // What is asked for in vain is said.
    for (wrong, says) in [
        ("regressions/environment.toml#2", "there is no such plan: the file has 1"),
        ("regressions/environment.toml#x", "after # stands a number"),
        ("regressions/nowhere.toml#1", "No such file"),
    ] {
        let (passed, printed) = in_a_process("mended_questions_hold", &words[7..], &[(name, wrong)]);
        assert!(!passed && printed.contains(says), "{printed}");
    }
    // A plan of its own, as stands beside a recording.
    let plan = regressions::read(&path).unwrap()[0].plan.to_toml();
    fs::write(path.with_file_name("plan.toml"), plan).unwrap();
    let (passed, printed) =
        in_a_process("broken_questions_hold", &words[7..], &[(name, "regressions/plan.toml")]);
    assert!(!passed && printed.contains("\nplan regressions/plan.toml:\n1 node, 1 fault,"), "{printed}");
}

#[test]
fn the_environment_widens_and_narrows_the_seeds() {
    let flags = ["--exact", "--include-ignored"];
    let run = |seeds| in_a_process("mended_questions_hold", &flags, &[("SHAKETABLE_SEEDS", seeds)]);
    let (passed, printed) = run("0..70");
    assert!(passed && printed.contains("\n140 worlds\n"), "{printed}");
    // One seed alone need not reach everything.
    let (passed, printed) = run("3");
    assert!(passed && printed.contains("\n2 worlds\n"), "{printed}");
    let (passed, printed) = run("a few");
    assert!(
        !passed && printed.contains("SHAKETABLE_SEEDS=a few: write a range such as 0..1000"),
        "{printed}"
    );
}
