//! Raft as texts: commands, and what the servers said, one idea a file. `UPDATE_SCRIPTS=1 cargo test -p consensus --test
//! scripts` writes what they say now; read the difference, commit what you can explain.
//!
//! A line with `>` is a command, a line with `#` a remark, all others are what came of it.
//!
//! | command | what happens |
//! |---|---|
//! | `servers 3` | n1, n2 and n3 start; with `spare 1` also n4, which belongs to nothing |
//! | `switch pre_vote off`, `switch keep 2` | a switch or a number of their configuration, before they start |
//! | `timeout n1`, `heartbeat n1` | a timer fires |
//! | `propose n1 text`, `read n1 lease`, `change n1 n1,n2,n4 [joint]`, `learn n1 n4`, `transfer n1 n2`, `compact n1 3` | the application asks |
//! | `deliver`, `deliver n1 n2 [Kind]` | all messages arrive, until none is left; or those from one to the other |
//! | `round` | what is on its way now arrives, and not the answers |
//! | `drop n1 n2 [Kind]`, `drop n1` | they are lost; all from and to n1 |
//! | `copy n1 n2`, `late` | what is on its way from one to the other will come again; it comes |
//! | `cut n1`, `heal` | from now on all from and to n1 are lost; no more |
//! | `hold n1`, `sync n1` | its disk syncs nothing until told; it syncs now |
//! | `crash n1`, `restart n1` | it is gone, with all that is not synced; it is back |
//! | `pass 150ms` | time passes |
//! | `show` | every server's role, term, log and commit index |

#![allow(
    clippy::disallowed_methods,
    reason = "the test asks the environment whether it shall write its files"
)]

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Write as _,
    fs,
    path::Path,
};

use consensus::{
    Raft,
    raft::{
        Command, Config, Entry, Event, Message, Observer, Outcome, Payload, Position, ReadMode, Record, Timer,
    },
};
use sim_core::{
    NodeId,
    protocol::{Effect, Out, Protocol},
    time::{Duration, Monotonic, Wall},
};

struct Server {
    config: Config,
    raft: Option<Raft>,
    out: Out<Raft>,
    disk: Vec<Record>,
    /// What waits for the disk.
    waiting: VecDeque<Effect<Raft>>,
    holds: bool,
}

#[derive(Default)]
struct Stage {
    switches: Vec<(String, String)>,
    servers: BTreeMap<NodeId, Server>,
    wire: VecDeque<(NodeId, NodeId, Message)>,
    copies: Vec<(NodeId, NodeId, Message)>,
    cut: BTreeSet<NodeId>,
    now: Duration,
    requests: u64,
    observer: Observer,
    text: String,
}

fn name(NodeId(number): NodeId) -> String {
    format!("n{number}")
}
fn node(text: &str) -> NodeId {
    NodeId(text.strip_prefix('n').and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no server: {text}")))
}
fn position(Position { term, index }: Position) -> String {
    format!("{index}@{term}")
}
fn entry(entry: &Entry) -> String {
    match &entry.payload {
        Payload::Noop => format!("-@{}", entry.term),
        Payload::Command(data) => format!("{}@{}", String::from_utf8_lossy(data), entry.term),
        Payload::Configuration(configuration) => format!("[{configuration}]@{}", entry.term),
    }
}
fn list(entries: &[Entry]) -> String {
    entries.iter().map(entry).collect::<Vec<_>>().join(" ")
}
fn message(message: &Message) -> String {
    let yes = |granted: &bool| if *granted { "yes" } else { "no" };
    match message {
        Message::PreVote { term, last } => format!("PreVote term {term}, log to {}", position(*last)),
        Message::PreVoted { term, granted } => format!("PreVoted term {term}: {}", yes(granted)),
        Message::RequestVote { term, last, transfer } => {
            let transfer = if *transfer { ", by transfer" } else { "" };
            format!("RequestVote term {term}, log to {}{transfer}", position(*last))
        }
        Message::Vote { term, granted } => format!("Vote term {term}: {}", yes(granted)),
        Message::AppendEntries { term, previous, entries, commit, round, .. } => {
            let round = if *round > 0 { format!(", round {round}") } else { String::new() };
            let after = position(*previous);
            format!("AppendEntries term {term}, after {after}: [{}], commit {commit}{round}", list(entries))
        }
        Message::Appended { term, outcome, .. } => {
            let outcome = match outcome {
                Outcome::Matched { index } => format!("matched {index}"),
                Outcome::Conflict { rejected, first, term: Some(term) } => {
                    format!("no {rejected}; term {term} begins at {first}")
                }
                Outcome::Conflict { rejected, first, term: None } => {
                    format!("no {rejected}; go on at {first}")
                }
                Outcome::StaleTerm => "stale".to_owned(),
            };
            format!("Appended term {term}: {outcome}")
        }
        Message::InstallSnapshot { term, last, offset, data, done, .. } => {
            let (from, until) = (*offset, *offset + data.len() as u64);
            let done = if *done { ", the last part" } else { "" };
            format!("InstallSnapshot term {term}, to {}: bytes {from} to {until}{done}", position(*last))
        }
        Message::SnapshotReceived { term, offset, .. } => {
            format!("SnapshotReceived term {term}: {offset} bytes")
        }
        Message::TimeoutNow { term } => format!("TimeoutNow term {term}"),
    }
}
fn kind(message: &Message) -> &'static str {
    sim_core::codec::kind_of(message)
}

impl Stage {
    fn say(&mut self, line: impl AsRef<str>) {
        writeln!(self.text, "{}", line.as_ref()).unwrap();
    }

    fn start(&mut self, id: NodeId, voters: &[NodeId]) {
        let mut config = Config::new(id, voters.iter().copied());
        for (switch, value) in &self.switches {
            let on = value == "on";
            let number = || value.parse().unwrap_or_else(|_| panic!("no number: {value}"));
            match switch.as_str() {
                "pre_vote" => config.pre_vote = on,
                "check_quorum" => config.check_quorum = on,
                "stickiness" => config.stickiness = on,
                "keep" => config.keep = number(),
                "chunk_bytes" => config.chunk_bytes = number() as usize,
                "in_flight" => config.in_flight = number() as usize,
                "no_noop" => config.flaws.no_noop = on,
                "commit_any_term" => config.flaws.commit_any_term = on,
                "change_before_own_commit" => config.flaws.change_before_own_commit = on,
                "forget_vote" => config.flaws.forget_vote = on,
                "truncate_on_stale" => config.flaws.truncate_on_stale = on,
                other => panic!("no switch: {other}"),
            }
        }
        let out = Out::new(Monotonic::ZERO, Wall::START, u64::from(id.0));
        let server =
            Server { config, raft: None, out, disk: Vec::new(), waiting: VecDeque::new(), holds: false };
        self.servers.insert(id, server);
        self.restart(id);
    }

    fn restart(&mut self, id: NodeId) {
        let server = self.servers.get_mut(&id).unwrap();
        server.raft = Some(Raft::restore(&server.config, server.disk.clone(), &mut server.out));
        self.settle(id);
    }

    fn act(&mut self, id: NodeId, step: impl FnOnce(&mut Raft, &mut Out<Raft>)) {
        let server = self.servers.get_mut(&id).unwrap_or_else(|| panic!("no server {}", name(id)));
        let Some(raft) = &mut server.raft else { return };
        step(raft, &mut server.out);
        self.settle(id);
    }

    /// Carries out what a server said.
    fn settle(&mut self, id: NodeId) {
        let server = self.servers.get_mut(&id).unwrap();
        let effects = server.out.take();
        let findings = self.observer.saw(server.raft.as_ref().unwrap(), &effects);
        let persists = |effect: &Effect<Raft>| matches!(effect, Effect::Append(_) | Effect::Replace(_));
        for effect in effects {
            let waiting = &mut self.servers.get_mut(&id).unwrap().waiting;
            match effect {
                Effect::SendNow(..) | Effect::AnnounceNow(_) => self.carry_out(id, effect),
                Effect::Arm(..) | Effect::Disarm(_) | Effect::State(..) => {}
                Effect::Append(_) | Effect::Replace(_) | Effect::WhenDurable(_) => waiting.push_back(effect),
                _ if waiting.iter().any(persists) => waiting.push_back(effect),
                _ => self.carry_out(id, effect),
            }
        }
        for finding in findings {
            if !finding.holds {
                self.say(format!("VIOLATED {}: {}", finding.property, finding.detail));
            }
        }
        let server = &self.servers[&id];
        if !(server.holds && server.waiting.iter().any(persists)) {
            self.sync(id);
        }
    }

    fn sync(&mut self, id: NodeId) {
        let waiting = std::mem::take(&mut self.servers.get_mut(&id).unwrap().waiting);
        for effect in waiting {
            self.carry_out(id, effect);
        }
    }

    fn carry_out(&mut self, id: NodeId, effect: Effect<Raft>) {
        let who = name(id);
        match effect {
            Effect::Send(to, said) | Effect::SendNow(to, said) => {
                let lost = self.cut.contains(&id) || self.cut.contains(&to);
                let fate = if lost { " (lost)" } else { "" };
                self.say(format!("  {who} -> {}  {}{fate}", name(to), message(&said)));
                if !lost {
                    self.wire.push_back((id, to, said));
                }
            }
            Effect::Append(record) => self.servers.get_mut(&id).unwrap().disk.push(record),
            Effect::Replace(records) => self.servers.get_mut(&id).unwrap().disk = records,
            Effect::WhenDurable(timer) => self.act(id, |raft, out| raft.on_timer(timer, out)),
            Effect::Announce(event) | Effect::AnnounceNow(event) => {
                let line = match event {
                    Event::Accepted { at, .. } => format!("accepts at {}", position(at)),
                    Event::Rejected { reason, .. } => format!("rejects: {reason:?}"),
                    Event::Committed { first, entries } => {
                        format!("commits from {first}: {}", list(&entries))
                    }
                    Event::Restored { snapshot } => {
                        format!("takes the snapshot to {}", position(snapshot.last))
                    }
                    Event::ReadReady { index, .. } => format!("may read at {index}"),
                    Event::RoleChanged { role, term, leader } => {
                        let leader = leader.filter(|leader| *leader != id);
                        let leader =
                            leader.map_or_else(String::new, |leader| format!(", {} leads", name(leader)));
                        format!("is {} in term {term}{leader}", role.name())
                    }
                };
                self.say(format!("  {who} {line}"));
            }
            _ => {}
        }
    }

    fn arrive(&mut self, (from, to, said): (NodeId, NodeId, Message)) {
        self.act(to, |raft, out| raft.on_message(from, said, out));
    }

    fn matching(&mut self, words: &[&str]) -> Vec<(NodeId, NodeId, Message)> {
        let (between, of) = match words {
            [one] => ((Some(node(one)), None), None),
            [from, to] => ((Some(node(from)), Some(node(to))), None),
            [from, to, kind] => ((Some(node(from)), Some(node(to))), Some(*kind)),
            _ => panic!("whose? {words:?}"),
        };
        let is = |(from, to, said): &(NodeId, NodeId, Message)| {
            let ends = match between {
                (Some(one), None) => *from == one || *to == one,
                (a, b) => a == Some(*from) && b == Some(*to),
            };
            ends && of.is_none_or(|of| kind(said) == of)
        };
        let (taken, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.wire).into_iter().partition(is);
        self.wire = left.into();
        assert!(!taken.is_empty(), "there is no such message: {words:?}");
        taken
    }

    fn command(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.requests += 1;
        let id = self.requests;
        let set = |text: &str| text.split(',').map(node).collect::<BTreeSet<_>>();
        match words[..] {
            ["switch", switch, value] => self.switches.push((switch.to_owned(), value.to_owned())),
            ["servers", count] => {
                let voters: Vec<NodeId> = (1..=count.parse().unwrap()).map(NodeId).collect();
                for &voter in &voters {
                    self.start(voter, &voters);
                }
            }
            ["spare", count] => {
                for _ in 0..count.parse().unwrap() {
                    let next = self.servers.keys().last().map_or(1, |last| last.0 + 1);
                    self.start(NodeId(next), &[]);
                }
            }
            ["timeout", who] => self.act(node(who), |raft, out| raft.on_timer(Timer::Election, out)),
            ["heartbeat", who] => self.act(node(who), |raft, out| raft.on_timer(Timer::Heartbeat, out)),
            ["propose", who, text] => self.ask(who, Command::Propose { id, data: text.into() }),
            ["read", who, mode] => {
                let mode = match mode {
                    "local" => ReadMode::Local,
                    "lease" => ReadMode::Lease,
                    _ => ReadMode::ReadIndex,
                };
                self.ask(who, Command::Read { id, mode });
            }
            ["learn", who, learners] => {
                let voters = self.servers[&node(who)].raft.as_ref().unwrap().configuration().voters.clone();
                let learners = set(learners);
                self.ask(who, Command::ChangeMembership { id, voters, learners, joint: false });
            }
            ["change", who, voters, ref rest @ ..] => {
                let (voters, joint) = (set(voters), rest == ["joint"]);
                let learners = BTreeSet::new();
                self.ask(who, Command::ChangeMembership { id, voters, learners, joint });
            }
            ["transfer", who, target] => {
                self.ask(who, Command::TransferLeadership { id, target: node(target) });
            }
            ["compact", who, index] => {
                let index = index.parse().unwrap();
                self.ask(who, Command::Compact { index, data: "some state".into() });
            }
            ["deliver"] => {
                for _ in 0..1_000 {
                    let Some(next) = self.wire.pop_front() else { return };
                    self.arrive(next);
                }
                panic!("the servers never stop talking");
            }
            ["round"] => std::mem::take(&mut self.wire).into_iter().for_each(|next| self.arrive(next)),
            ["deliver", ref whose @ ..] => {
                for next in self.matching(whose) {
                    self.arrive(next);
                }
            }
            ["drop", ref whose @ ..] => drop(self.matching(whose)),
            ["copy", from, to] => {
                let on_the_way = |(a, b, _): &&(NodeId, NodeId, Message)| *a == node(from) && *b == node(to);
                self.copies.extend(self.wire.iter().filter(on_the_way).cloned());
            }
            ["late"] => std::mem::take(&mut self.copies).into_iter().for_each(|next| self.arrive(next)),
            ["cut", who] => {
                self.cut.insert(node(who));
                let cut = node(who);
                self.wire.retain(|(from, to, _)| *from != cut && *to != cut);
            }
            ["heal"] => self.cut.clear(),
            ["hold", who] => self.servers.get_mut(&node(who)).unwrap().holds = true,
            ["sync", who] => {
                self.servers.get_mut(&node(who)).unwrap().holds = false;
                self.sync(node(who));
            }
            ["crash", who] => {
                let server = self.servers.get_mut(&node(who)).unwrap();
                server.raft = None;
                server.waiting.clear();
            }
            ["restart", who] => self.restart(node(who)),
            ["pass", time] => {
                let time: Duration = time.parse().unwrap();
                self.now += time;
                self.servers.values_mut().for_each(|server| server.out.advance(time));
            }
            ["show"] => {
                let lines: Vec<String> = self
                    .servers
                    .iter()
                    .map(|(&id, server)| match &server.raft {
                        None => format!("  {} is down", name(id)),
                        Some(raft) => {
                            let entries: Vec<Entry> = raft.log().entries().cloned().collect();
                            let base = match raft.log().base().index {
                                0 => String::new(),
                                _ => format!("..{} ", position(raft.log().base())),
                            };
                            let (role, term, commit) = (raft.role().name(), raft.term(), raft.commit_index());
                            let log = list(&entries);
                            format!("  {} {role}, term {term}, commit {commit}: {base}{log}", name(id))
                        }
                    })
                    .collect();
                lines.iter().for_each(|line| self.say(line));
            }
            _ => panic!("no command: {line}"),
        }
    }

    fn ask(&mut self, who: &str, command: Command) {
        self.act(node(who), |raft, out| raft.on_command(command, out));
    }
}

/// Plays a file's commands; gives the file as it should be.
fn play(script: &str) -> String {
    let mut stage = Stage::default();
    for line in script.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            stage.say(line);
            stage.command(command);
        } else if line.starts_with('#') || line.is_empty() {
            stage.say(line);
        }
    }
    stage.text
}

#[test]
fn every_script_goes_as_it_is_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/raft");
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 12, "{}", files.len());
    for file in files {
        let written = fs::read_to_string(&file).unwrap();
        let played = play(&written);
        if std::env::var_os("UPDATE_SCRIPTS").is_some() {
            fs::write(&file, played).unwrap();
        } else if written != played {
            let differs = written.lines().zip(played.lines()).position(|(a, b)| a != b);
            let line = differs.map_or(written.lines().count().min(played.lines().count()), |line| line) + 1;
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            panic!(
                "{name}, line {line}: written `{}`, now `{}`; UPDATE_SCRIPTS=1 writes it anew",
                written.lines().nth(line - 1).unwrap_or("(end)"),
                played.lines().nth(line - 1).unwrap_or("(end)")
            );
        }
    }
}
