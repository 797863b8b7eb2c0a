//! The page about faults: every kind, its fields and ranges, when and on whom, delays, and overrides of single packets.
//!
//! Kinds, fields, ranges and help come from the types that read a file of faults: from their schema. The examples are
//! written by hand, and a test reads each of them and looks for one of every kind.

use serde_json::{Map, Value, json};
use sim_core::{fault::Fault, plan::Override};

use super::text::{columns, hanging, wrapped};
use crate::console::{BOLD, DIM, painted};

/// A whole file.
pub(crate) const FILE: &str = r#"[[fault]]
name = "the way to the database is slow"
when = { at = "3s" }
lasts = "2s"
what = { link = { to = ["db"], extra-delay = "20ms" } }

[[fault]]
name = "the leader dies in its third term"
when = { state = { key = "role", value = "leader", count = 3 } }
what = "crash"
on = { role = "leader" }
"#;

/// Overrides, at the end of a plan.toml.
pub(crate) const OVERRIDES: &str = r#"[[override]]
from = "client-0"
to = "store"
kind = "Put"
ordinal = 3
delay = "40ms"

[[override]]
from = "store"
to = "client-0"
ordinal = 7
lost = true
"#;

/// What goes wrong, by the names that lead to it.
pub(crate) const WHAT: [(&str, &str); 24] = [
    ("crash", r#""crash""#),
    ("power-failure", r#""power-failure""#),
    ("restart", r#""restart""#),
    ("pause", r#""pause""#),
    ("slow", "{ slow = 3.0 }"),
    ("memory-limit", "{ memory-limit = 1_000_000 }"),
    ("partition.isolate", r#"{ partition = "isolate" }"#),
    ("partition.split", r#"{ partition = { split = [["a", "b"], ["c"]] } }"#),
    ("partition.one-way", r#"{ partition = { one-way = { from = ["a"], to = ["b"] } } }"#),
    ("partition.bridge", r#"{ partition = { bridge = { left = ["a"], right = ["b"] } } }"#),
    ("partition.regions", r#"{ partition = { regions = [["eu"], ["us"]] } }"#),
    ("link", r#"{ link = { from = ["web"], to = ["db"], loss = 0.1 } }"#),
    ("packets", r#"{ packets = { kind = "Vote", to = "b", count = 2, action = "drop" } }"#),
    ("packets", r#"{ packets = { action = { delay = "400ms" } } }"#),
    ("clock-jump", r#"{ clock-jump = "-250ms" }"#),
    ("clock-drift", "{ clock-drift = 200.0 }"),
    ("disk.rot", r#"{ disk = { rot = "log" } }"#),
    ("disk.io-error", r#"{ disk = "io-error" }"#),
    ("disk.fail-sync", r#"{ disk = "fail-sync" }"#),
    ("disk.full", r#"{ disk = "full" }"#),
    ("disk.slow", "{ disk = { slow = 10.0 } }"),
    ("disk.crash-policy", r#"{ disk = { crash-policy = "tear-first" } }"#),
    ("load", "{ load = 10.0 }"),
    ("link", r#"{ link = { delay = { exponential = { mean = "60ms" } } } }"#),
];

/// When it takes hold.
pub(crate) const WHEN: [(&str, &str); 4] = [
    ("at", r#"{ at = "5.7s" }"#),
    ("sent", r#"{ sent = { kind = "Prepare", from = "coordinator", then = "1ms" } }"#),
    ("delivered", r#"{ delivered = { kind = "Heartbeat", to = "monitor", count = 3 } }"#),
    ("state", r#"{ state = { key = "role", value = "leader", node = "n1" } }"#),
];

/// On whom.
pub(crate) const ON: [(&str, &str); 8] = [
    ("", r#""store""#),
    ("", r#""*""#),
    ("nodes", r#"{ nodes = ["a", "b"] }"#),
    ("group", r#"{ group = "web" }"#),
    ("role", r#"{ role = "leader" }"#),
    ("state", r#"{ state = { key = "lock", value = "held" } }"#),
    ("minority", r#"{ minority = "replica" }"#),
    ("any", r#"{ any = { group = "web", count = 2 } }"#),
];

/// Distributions of times.
pub(crate) const DELAY: [(&str, &str); 8] = [
    ("constant", r#"{ constant = "5ms" }"#),
    ("uniform", r#"{ uniform = { from = "0s", to = "50ms" } }"#),
    ("normal", r#"{ normal = { mean = "5ms", deviation = "1ms" } }"#),
    ("lognormal", r#"{ lognormal = { median = "5ms", sigma = 0.5 } }"#),
    ("exponential", r#"{ exponential = { mean = "10ms" } }"#),
    ("pareto", r#"{ pareto = { scale = "1ms", shape = 1.5 } }"#),
    ("empirical", r#"{ empirical = [[0.0, "1ms"], [0.9, "5ms"], [1.0, "80ms"]] }"#),
    ("shifted", r#"{ shifted = { by = "5ms", plus = { constant = "1ms" } } }"#),
];

/// The schemas and the examples.
pub(crate) fn document() -> Value {
    let examples =
        |all: &[(&'static str, &'static str)]| all.iter().map(|(_, text)| *text).collect::<Vec<_>>();
    json!({
        "fault": schema::<Fault>(),
        "override": schema::<Override>(),
        "examples": {
            "file": FILE,
            "what": examples(&WHAT),
            "when": examples(&WHEN),
            "on": examples(&ON),
            "delay": examples(&DELAY),
            "override": OVERRIDES,
        },
    })
}

fn schema<T: schemars::JsonSchema>() -> Value {
    schemars::SchemaGenerator::default().into_root_schema_for::<T>().to_value()
}

/// The page.
pub(crate) fn page(width: usize) -> String {
    let (fault, single) = (schema::<Fault>(), schema::<Override>());
    let fault = Schema { root: &fault, own: &fault };
    let mut page = Page { out: String::new(), width };
    page.heading("What can go wrong, and how it is written");
    page.text(
        "A file of faults replaces the lab's own: `shaketable scenario NAME --faults FILE`. The plan of a run, plan.toml, \
         has the same entries, and `shaketable replay` runs it as it was edited.",
    );
    page.out.push('\n');
    page.listing(FILE, "  ");
    page.title("A fault");
    page.fields(fault, "  ");
    page.title("What");
    page.choices(fault.field("what"), "", &WHAT, "what", "  ");
    page.title("When");
    page.choices(fault.field("when"), "", &WHEN, "when", "  ");
    page.title("On whom");
    page.choices(fault.field("on"), "", &ON, "on", "  ");
    page.title("Delays");
    page.text("A distribution of times. Where it says how long something takes, it is one of");
    for (_, example) in DELAY {
        page.listing(&format!("delay = {example}"), "  ");
    }
    page.title("Overrides");
    page.text(
        "What the network drew for one packet, set by hand: in a plan.toml, not in a file of faults. What is absent \
         stays as it was drawn. One that meets no packet is told like a fault that touched nothing.",
    );
    page.listing(OVERRIDES, "  ");
    page.fields(Schema { root: &single, own: &single }, "  ");
    page.out
}

/// A part of a schema.
#[derive(Clone, Copy)]
struct Schema<'s> {
    root: &'s Value,
    own: &'s Value,
}

/// One of several forms.
struct Choice<'s> {
    name: &'s str,
    help: &'s str,
    /// Its data; nothing for a plain name.
    data: Option<Schema<'s>>,
}

impl<'s> Schema<'s> {
    fn at(self, own: &'s Value) -> Self {
        Self { own, ..self }
    }
    /// What a reference refers to.
    fn resolved(self) -> Self {
        let name = self.own["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/"));
        match name {
            Some(name) => self.at(&self.root["$defs"][name]).resolved(),
            None => self,
        }
    }
    fn field(self, name: &str) -> Self {
        self.at(&self.resolved().own["properties"][name])
    }
    fn help(self) -> &'s str {
        self.own["description"].as_str().unwrap_or_default()
    }
    fn properties(self) -> Option<&'s Map<String, Value>> {
        self.own["properties"].as_object()
    }
    /// The forms; none where there is only one.
    fn choices(self) -> Vec<Choice<'s>> {
        let here = self.resolved();
        let parts = ["oneOf", "anyOf"].into_iter().filter_map(|key| here.own[key].as_array()).flatten();
        let mut choices = Vec::new();
        for part in parts.map(|part| here.at(part)) {
            let nested = part.choices();
            if !nested.is_empty() {
                choices.extend(nested);
            } else if let Some(name) = part.own["const"].as_str() {
                choices.push(Choice { name, help: part.help(), data: None });
            } else if let Some((name, data)) = part.properties().and_then(|all| all.iter().next()) {
                choices.push(Choice { name, help: part.help(), data: Some(part.at(data)) });
            } else {
                choices.push(Choice { name: "", help: part.help(), data: Some(part) });
            }
        }
        choices
    }
    /// What may be written there, in a few words.
    fn kind(self) -> String {
        let choices = self.choices();
        if !choices.is_empty() {
            let names: Vec<&str> =
                choices.iter().map(|one| if one.name.is_empty() { "a name" } else { one.name }).collect();
            return names.join(" | ");
        }
        let here = self.resolved();
        let types = &here.own["type"];
        let kind =
            types.as_str().or_else(|| types.as_array()?.iter().find_map(Value::as_str)).unwrap_or_default();
        match (kind, here.own["format"].as_str().unwrap_or_default()) {
            (_, "duration") => "duration".to_owned(),
            (_, "offset") => "duration with a sign".to_owned(),
            (_, "distribution") => "a distribution, see Delays".to_owned(),
            ("string", _) => "text".to_owned(),
            ("boolean", _) => "true or false".to_owned(),
            ("number", _) => format!("number{}", here.range()),
            ("integer", _) => format!("whole number{}", here.range()),
            ("array", _) => format!("list of {}", plural(&here.at(&here.own["items"]).kind())),
            _ => "table".to_owned(),
        }
    }
    fn range(self) -> String {
        let end = |key: &str| self.own[key].as_f64().map(viz::terminal::number);
        match (end("minimum"), end("maximum")) {
            (Some(low), Some(high)) => format!(", {low} to {high}"),
            (Some(low), None) => format!(", at least {low}"),
            (None, Some(high)) => format!(", at most {high}"),
            (None, None) => String::new(),
        }
    }
}

fn plural(kind: &str) -> String {
    match kind.split_once(' ') {
        Some(("list", rest)) => format!("lists {rest}"),
        _ => format!("{kind}s"),
    }
}

/// A doc comment without links into the code.
fn unlinked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, (label, after))) = rest.split_once('[').and_then(|(before, link)| {
        let (label, after) = link.split_once(']')?;
        Some((before, (label, after)))
    }) {
        out.push_str(before);
        out.push_str(label);
        rest = match after.strip_prefix('(').and_then(|target| target.split_once(')')) {
            Some((_, after)) => after,
            None => after,
        };
    }
    out + rest
}

struct Page {
    out: String,
    width: usize,
}

impl Page {
    fn heading(&mut self, text: &str) {
        self.out.push_str(&format!("{}\n\n", painted(BOLD, text)));
    }
    fn title(&mut self, text: &str) {
        self.out.push_str(&format!("\n{}\n", painted(BOLD, text)));
    }
    fn text(&mut self, text: &str) {
        self.out.push_str(&wrapped(text, "", self.width));
    }
    fn listing(&mut self, text: &str, indent: &str) {
        for line in text.lines() {
            if !line.is_empty() {
                self.out.push_str(&format!("{indent}{}", painted(DIM, line)));
            }
            self.out.push('\n');
        }
    }
    fn help(&mut self, text: &str, indent: &str) {
        for paragraph in unlinked(text).split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
            self.out.push_str(&wrapped(paragraph, indent, self.width));
        }
    }
    /// The fields of a table: those that must be there first.
    fn fields(&mut self, schema: Schema<'_>, indent: &str) {
        let here = schema.resolved();
        let Some(properties) = here.properties() else { return };
        let required: Vec<&str> =
            here.own["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut names: Vec<&String> = properties.keys().collect();
        names.sort_by_key(|name| required.iter().position(|one| one == name).unwrap_or(required.len()));
        for name in names {
            let field = here.at(&properties[name]);
            let must = if required.contains(&name.as_str()) { "" } else { "; optional" };
            let head = format!("{indent}{name}: ");
            let below = format!("{indent}  ");
            self.out.push_str(&hanging(&format!("{}{must}", field.kind()), &head, &below, self.width));
            self.help(field.help(), &below);
            // The forms of what is small enough to have no heading of its own.
            if !["what", "when", "on"].contains(&name.as_str()) {
                for choice in field.choices() {
                    let written = match choice.data {
                        Some(data) => format!("{{ {} = {} }}", choice.name, data.kind()),
                        None => format!("\"{}\"", choice.name),
                    };
                    let head = format!("{below}{written}: ");
                    self.out.push_str(&hanging(
                        &unlinked(choice.help),
                        &head,
                        &format!("{below}  "),
                        self.width,
                    ));
                }
            }
        }
    }
    /// The forms, each with its help, its fields and its examples.
    fn choices(
        &mut self,
        schema: Schema<'_>,
        path: &str,
        examples: &[(&str, &str)],
        key: &str,
        indent: &str,
    ) {
        for choice in schema.choices() {
            let path =
                if path.is_empty() { choice.name.to_owned() } else { format!("{path}.{}", choice.name) };
            let inner = choice.data.map(|data| data.choices()).unwrap_or_default();
            let below = format!("{indent}  ");
            // A policy of the disk is a plain value; kinds of kinds are listed one by one.
            let kinds =
                !inner.is_empty() && examples.iter().any(|(one, _)| one.starts_with(&format!("{path}.")));
            let name = if choice.name.is_empty() { "a name" } else { choice.name };
            let kind = match choice.data {
                Some(data) if !kinds && data.resolved().properties().is_none() && !choice.name.is_empty() => {
                    format!(": {}", data.kind())
                }
                _ => String::new(),
            };
            self.out.push_str(&hanging(&format!("{name}{kind}"), indent, &below, self.width));
            self.help(choice.help, &below);
            if let Some(data) = choice.data {
                if kinds {
                    self.choices(data, &path, examples, key, &below);
                } else {
                    self.fields(data, &below);
                    for plain in inner {
                        let head = format!("{below}\"{}\": ", plain.name);
                        let under = " ".repeat(columns(&below) + 2);
                        self.out.push_str(&hanging(&unlinked(plain.help), &head, &under, self.width));
                    }
                }
            }
            for (_, example) in examples.iter().filter(|(one, _)| *one == path) {
                self.listing(&format!("{key} = {example}"), &below);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sim_core::{fault::FaultPlan, plan::Plan, rng::Delay, time::secs};

    use super::*;

    fn fault(when: &str, what: &str, on: &str) -> String {
        format!("[[fault]]\nname = \"x\"\nwhen = {when}\nwhat = {what}\non = {on}\n")
    }

    /// The names that lead to each form, down to where the examples are.
    fn leaves(schema: Schema<'_>, path: &str, deep: &[&str]) -> BTreeSet<String> {
        let mut leaves = BTreeSet::new();
        for choice in schema.choices() {
            let path =
                if path.is_empty() { choice.name.to_owned() } else { format!("{path}.{}", choice.name) };
            match choice.data {
                Some(data) if deep.contains(&path.as_str()) => leaves.extend(self::leaves(data, &path, deep)),
                _ => drop(leaves.insert(path)),
            }
        }
        leaves
    }

    fn shown(examples: &[(&str, &str)]) -> BTreeSet<String> {
        examples.iter().map(|(path, _)| (*path).to_owned()).collect()
    }

    #[test]
    fn every_kind_has_an_example_and_every_example_is_read() {
        let all = schema::<Fault>();
        let all = Schema { root: &all, own: &all };
        // The kinds that have kinds.
        assert_eq!(leaves(all.field("what"), "", &["partition", "disk"]), shown(&WHAT));
        assert_eq!(leaves(all.field("when"), "", &[]), shown(&WHEN));
        assert_eq!(leaves(all.field("on"), "", &[]), shown(&ON));
        let read = |text: &str| FaultPlan::from_toml(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let (when, what, on) = (WHEN[0].1, WHAT[0].1, ON[0].1);
        for (path, example) in WHAT {
            let plan = read(&fault(when, example, on));
            // What is read is what the path says, as it is written again.
            let written = toml::Value::try_from(&plan.faults()[0].what).unwrap();
            let mut value = &written;
            for name in path.split('.') {
                value = match value {
                    toml::Value::Table(table) => &table[name],
                    plain => {
                        assert_eq!(plain.as_str(), Some(name));
                        plain
                    }
                };
            }
        }
        WHEN.iter().for_each(|(_, example)| drop(read(&fault(example, what, on))));
        ON.iter().for_each(|(_, example)| drop(read(&fault(when, what, example))));
        assert_eq!(read(FILE).faults().len(), 2);
        for (_, example) in DELAY {
            read(&fault(when, &format!("{{ link = {{ delay = {example} }} }}"), on));
        }
    }

    #[test]
    fn every_distribution_has_an_example() {
        let error =
            toml::from_str::<std::collections::BTreeMap<String, Delay>>("delay = { none = 1 }").unwrap_err();
        let known: BTreeSet<String> = error
            .to_string()
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|name| *name != "none")
            .map(str::to_owned)
            .collect();
        assert_eq!(known, shown(&DELAY), "{error}");
    }

    #[test]
    fn the_overrides_are_read_at_the_end_of_a_plan() {
        let plan = Plan::new("x", 1, secs(1)).to_toml();
        assert_eq!(Plan::from_toml(&format!("{plan}\n{OVERRIDES}")).unwrap().overrides.len(), 2);
    }

    #[test]
    fn what_the_page_calls_out_of_range_is_refused() {
        for what in [
            "{ slow = 0.009 }",
            "{ slow = 1_000_001.0 }",
            "{ load = -0.1 }",
            "{ load = 1_000_001.0 }",
            "{ clock-drift = -900_001.0 }",
            "{ clock-drift = 1_000_001.0 }",
            "{ disk = { slow = 0.009 } }",
            "{ link = { loss = 1.1 } }",
            "{ link = { duplication = -0.1 } }",
            "{ link = { corruption = 1.1 } }",
            "{ link = { bandwidth = 0 } }",
        ] {
            assert!(FaultPlan::from_toml(&fault(WHEN[0].1, what, ON[0].1)).is_err(), "{what}");
        }
        for when in ["{ sent = { count = 0 } }", "{ state = { key = \"a\", value = \"b\", count = 0 } }"] {
            assert!(FaultPlan::from_toml(&fault(when, WHAT[0].1, ON[0].1)).is_err(), "{when}");
        }
    }

    #[test]
    fn links_into_the_code_are_taken_out() {
        assert_eq!(
            unlinked("a [`Node::work`](crate::Node::work) of [it], [unclosed"),
            "a `Node::work` of it, [unclosed"
        );
    }
}
