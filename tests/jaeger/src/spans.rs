//! Spans in a form in which two sets of them can be compared, whatever way they were written.
//!
//! OTLP/JSON leaves much open: a field that has its default may be there or not, an integer may be a number or a text,
//! attributes and events may come in any order, spans may be spread over requests, resources and scopes in any way. Here all
//! of that is undone. What is left is what a span *says*: who it is, when it was, to the nanosecond, and what it tells.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

/// The value of an attribute. Doubles are equal when their bits are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttributeValue {
    /// No value at all.
    Empty,
    /// A text.
    String(String),
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// The bits of a double ([`f64::to_bits`]).
    Double(u64),
    /// Bytes, still in base 64.
    Bytes(String),
    /// Values in an order that matters.
    Array(Vec<AttributeValue>),
    /// Values with keys, sorted.
    Map(Attributes),
}

impl fmt::Display for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("nothing"),
            Self::String(text) => write!(f, "{text:?}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "the integer {value}"),
            Self::Double(bits) => write!(f, "the double {:?}", f64::from_bits(*bits)),
            Self::Bytes(base64) => write!(f, "the bytes {base64}"),
            Self::Array(values) => {
                f.write_str("[")?;
                for (i, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str("]")
            }
            Self::Map(attributes) => write!(f, "{attributes}"),
        }
    }
}

/// Keys and values, sorted. A key that is there twice stays there twice.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attributes(pub Vec<(String, AttributeValue)>);

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (key, value)) in self.0.iter().enumerate() {
            write!(f, "{}{key}: {value}", if i > 0 { ", " } else { "" })?;
        }
        f.write_str("}")
    }
}

/// Something that happened at one instant of a span.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    /// Nanoseconds since 1970.
    pub time: u64,
    pub name: String,
    pub attributes: Attributes,
}

/// A pointer to a span of another trace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    pub trace_id: String,
    pub span_id: String,
    pub trace_state: String,
    pub flags: u64,
    pub attributes: Attributes,
}

/// How a span ended: 0 unset, 1 ok, 2 error.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Status {
    pub code: u64,
    pub message: String,
}

/// One span, with what its scope and its resource say. Identifiers are in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    pub trace_id: String,
    pub span_id: String,
    /// Empty for a root.
    pub parent_span_id: String,
    pub name: String,
    /// 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
    pub kind: u64,
    /// Nanoseconds since 1970.
    pub start: u64,
    /// Nanoseconds since 1970.
    pub end: u64,
    pub attributes: Attributes,
    /// Sorted by time, then name: the server keeps no order among them.
    pub events: Vec<Event>,
    /// In the order in which they were written.
    pub links: Vec<Link>,
    pub status: Status,
    pub trace_state: String,
    pub flags: u64,
    /// The attributes of its resource: `service.name` and so on.
    pub resource: Attributes,
    pub scope_name: String,
    pub scope_version: String,
    pub scope_attributes: Attributes,
}

impl Span {
    /// The first field in which the two differ: its name and the two values as text, ours first.
    fn first_difference(&self, other: &Self) -> Option<(String, String, String)> {
        macro_rules! compare_fields {
            ($($field:ident),*) => {$(
                if self.$field != other.$field {
                    return Some((stringify!($field).to_owned(), self.$field.to_string(), other.$field.to_string()));
                }
            )*};
        }
        macro_rules! compare_attributes {
            ($($field:ident),*) => {$(
                if let Some((key, ours, theirs)) = first_other_attribute(&self.$field, &other.$field) {
                    return Some((format!("{} `{key}`", stringify!($field)), ours, theirs));
                }
            )*};
        }
        compare_fields!(trace_id, span_id, parent_span_id, name, kind, start, end);
        compare_attributes!(attributes);
        if let Some(difference) = first_other_item("events", &self.events, &other.events) {
            return Some(difference);
        }
        if let Some(difference) = first_other_item("links", &self.links, &other.links) {
            return Some(difference);
        }
        if self.status != other.status {
            return Some(("status".to_owned(), format!("{:?}", self.status), format!("{:?}", other.status)));
        }
        compare_fields!(trace_state, flags);
        compare_attributes!(resource);
        compare_fields!(scope_name, scope_version);
        compare_attributes!(scope_attributes);
        None
    }
}

fn first_other_attribute(ours: &Attributes, theirs: &Attributes) -> Option<(String, String, String)> {
    let mut keys: Vec<&String> = ours.0.iter().chain(&theirs.0).map(|(key, _)| key).collect();
    keys.sort();
    keys.dedup();
    let values = |of: &Attributes, key: &String| -> Vec<String> {
        of.0.iter().filter(|(k, _)| k == key).map(|(_, value)| value.to_string()).collect()
    };
    let text = |v: Vec<String>| if v.is_empty() { "not there".to_owned() } else { v.join(" and ") };
    keys.into_iter()
        .map(|key| (key, values(ours, key), values(theirs, key)))
        .find(|(_, ours, theirs)| ours != theirs)
        .map(|(key, ours, theirs)| (key.clone(), text(ours), text(theirs)))
}

fn first_other_item<T: PartialEq + fmt::Debug>(
    field: &str,
    ours: &[T],
    theirs: &[T],
) -> Option<(String, String, String)> {
    let index = (0..ours.len().max(theirs.len())).find(|&i| ours.get(i) != theirs.get(i))?;
    let text = |of: &[T]| of.get(index).map_or_else(|| "not there".to_owned(), |item| format!("{item:?}"));
    Some((format!("{field}[{index}]"), text(ours), text(theirs)))
}

/// A set of spans, sorted by trace, then span id. A span that is there twice stays there twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spans(Vec<Span>);

impl Spans {
    /// The spans of one object with `resourceSpans`: a request, or an answer of Jaeger.
    ///
    /// Strict: a field with a value that [`compare`] would not look at is an error, so nothing is overlooked.
    pub fn from_json(request: &Value) -> Result<Self, String> {
        let mut request = Fields::of(request, "the request")?;
        let mut spans = Vec::new();
        for (r, resource_spans) in request.list("resourceSpans")?.into_iter().enumerate() {
            let place = format!("resourceSpans[{r}]");
            let mut group = Fields::of(resource_spans, &place)?;
            let mut resource = group.object("resource")?;
            let resource_attributes = resource.attributes("attributes")?;
            resource.nothing_else()?;
            for (s, scope_spans) in group.list("scopeSpans")?.into_iter().enumerate() {
                let mut group = Fields::of(scope_spans, &format!("{place}.scopeSpans[{s}]"))?;
                let mut scope = group.object("scope")?;
                let (name, version) = (scope.text("name")?, scope.text("version")?);
                let scope_attributes = scope.attributes("attributes")?;
                scope.nothing_else()?;
                for (i, span) in group.list("spans")?.into_iter().enumerate() {
                    let span = Fields::of(span, &format!("{place}.scopeSpans[{s}].spans[{i}]"))?;
                    let scope = (name.clone(), version.clone(), scope_attributes.clone());
                    spans.push(span_of(span, &resource_attributes, scope)?);
                }
                group.nothing_else()?;
            }
            group.nothing_else()?;
        }
        request.nothing_else()?;
        Ok(spans.into_iter().collect())
    }

    /// The spans of OTLP/JSON lines: one request a line; empty lines are passed over.
    pub fn from_json_lines(lines: &str) -> Result<Self, String> {
        let lines = lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let read = |(number, line): (usize, &str)| {
            let wrong = |e: String| format!("line {}: {e}", number + 1);
            let request: Value = serde_json::from_str(line).map_err(|e| wrong(e.to_string()))?;
            Self::from_json(&request).map_err(wrong)
        };
        Ok(lines.map(read).collect::<Result<Vec<Self>, String>>()?.into_iter().flatten().collect())
    }

    /// The spans of all `trace-*.jsonl` files of a folder. A folder without one is an error.
    pub fn from_folder(folder: &Path) -> Result<Self, String> {
        let wrong = |path: &Path, e: &dyn fmt::Display| format!("{}: {e}", path.display());
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).map_err(|e| wrong(folder, &e))? {
            let path = entry.map_err(|e| wrong(folder, &e))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with("trace-") && name.ends_with(".jsonl") {
                files.push(path);
            }
        }
        if files.is_empty() {
            return Err(wrong(folder, &"no trace-*.jsonl file here"));
        }
        let read = |file: &PathBuf| {
            let lines = fs::read_to_string(file).map_err(|e| wrong(file, &e))?;
            Self::from_json_lines(&lines).map_err(|e| wrong(file, &e))
        };
        Ok(files.iter().map(read).collect::<Result<Vec<Self>, String>>()?.into_iter().flatten().collect())
    }

    /// How many spans there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The spans, sorted by trace, then span id.
    pub fn iter(&self) -> impl Iterator<Item = &Span> {
        self.0.iter()
    }

    /// The traces, sorted, with the number of spans of each.
    pub fn count_by_trace(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for span in &self.0 {
            *counts.entry(span.trace_id.as_str()).or_default() += 1;
        }
        counts
    }
}

impl FromIterator<Span> for Spans {
    fn from_iter<I: IntoIterator<Item = Span>>(spans: I) -> Self {
        let mut spans: Vec<Span> = spans.into_iter().collect();
        spans.sort();
        Self(spans)
    }
}

impl IntoIterator for Spans {
    type Item = Span;
    type IntoIter = std::vec::IntoIter<Span>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Whether two sets of spans say the same: how many spans were compared, or, in words, the first span and the first of its
/// fields that differ. Two empty sets are an error: a comparison of nothing proves nothing.
pub fn compare(expected: &Spans, got: &Spans) -> Result<usize, String> {
    if expected.is_empty() && got.is_empty() {
        return Err("there are no spans to compare".to_owned());
    }
    let counts = || format!("{} expected, {} got", expected.len(), got.len());
    let label = |s: &Span| format!("span {} of trace {} ({:?})", s.span_id, s.trace_id, s.name);
    let id = |s: &Span| (s.trace_id.clone(), s.span_id.clone());
    let (mut ours, mut theirs) = (expected.iter().peekable(), got.iter().peekable());
    loop {
        match (ours.peek(), theirs.peek()) {
            (None, None) => return Ok(expected.len()),
            (Some(e), g) if g.is_none_or(|g| id(e) < id(g)) => {
                return Err(format!("{} is missing ({})", label(e), counts()));
            }
            (e, Some(g)) if e.is_none_or(|e| id(g) < id(e)) => {
                return Err(format!("{} was not expected ({})", label(g), counts()));
            }
            (Some(e), Some(g)) => {
                if let Some((field, ours, theirs)) = e.first_difference(g) {
                    return Err(format!("{}: {field}: expected {ours}, got {theirs}", label(e)));
                }
            }
            // The two guards above take every other case.
            (Some(_), None) | (None, Some(_)) => unreachable!("one side has ended"),
        }
        ours.next();
        theirs.next();
    }
}

fn span_of(
    mut span: Fields<'_>,
    resource: &Attributes,
    scope: (String, String, Attributes),
) -> Result<Span, String> {
    let mut events = Vec::new();
    for (i, event) in span.list("events")?.into_iter().enumerate() {
        let mut event = Fields::of(event, &format!("{}.events[{i}]", span.place))?;
        events.push(Event {
            time: event.number("timeUnixNano")?,
            name: event.text("name")?,
            attributes: event.attributes("attributes")?,
        });
        event.nothing_else()?;
    }
    events.sort();
    let mut links = Vec::new();
    for (i, link) in span.list("links")?.into_iter().enumerate() {
        let mut link = Fields::of(link, &format!("{}.links[{i}]", span.place))?;
        links.push(Link {
            trace_id: link.id("traceId", 32)?,
            span_id: link.id("spanId", 16)?,
            trace_state: link.text("traceState")?,
            flags: link.number("flags")?,
            attributes: link.attributes("attributes")?,
        });
        link.nothing_else()?;
    }
    let mut status = span.object("status")?;
    let how = Status { code: status.number("code")?, message: status.text("message")? };
    status.nothing_else()?;
    let (scope_name, scope_version, scope_attributes) = scope;
    let done = Span {
        trace_id: span.id("traceId", 32)?,
        span_id: span.id("spanId", 16)?,
        parent_span_id: span.id("parentSpanId", 16)?,
        name: span.text("name")?,
        kind: span.number("kind")?,
        start: span.number("startTimeUnixNano")?,
        end: span.number("endTimeUnixNano")?,
        attributes: span.attributes("attributes")?,
        events,
        links,
        status: how,
        trace_state: span.text("traceState")?,
        flags: span.number("flags")?,
        resource: resource.clone(),
        scope_name,
        scope_version,
        scope_attributes,
    };
    if done.trace_id.is_empty() || done.span_id.is_empty() {
        return Err(format!("{}: a span needs a traceId and a spanId", span.place));
    }
    span.nothing_else()?;
    Ok(done)
}

/// The fields of a JSON object that are still to be read. A field that is missing or null has its default.
struct Fields<'a> {
    place: String,
    left: BTreeMap<&'a str, &'a Value>,
}

impl<'a> Fields<'a> {
    fn of(value: &'a Value, place: &str) -> Result<Self, String> {
        let object: &Map<String, Value> =
            value.as_object().ok_or_else(|| format!("{place} is not an object: {value}"))?;
        let left = object.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.as_str(), v)).collect();
        Ok(Self { place: place.to_owned(), left })
    }

    fn object(&mut self, key: &str) -> Result<Self, String> {
        let place = format!("{}.{key}", self.place);
        match self.left.remove(key) {
            Some(value) => Self::of(value, &place),
            None => Ok(Self { place, left: BTreeMap::new() }),
        }
    }

    fn list(&mut self, key: &str) -> Result<Vec<&'a Value>, String> {
        match self.left.remove(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(values)) => Ok(values.iter().collect()),
            Some(other) => Err(self.wrong(key, "a list", other)),
        }
    }

    fn text(&mut self, key: &str) -> Result<String, String> {
        match self.left.remove(key) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Err(self.wrong(key, "a text", other)),
        }
    }

    /// An identifier in hexadecimal digits, or empty. All zeros is the same as empty.
    fn id(&mut self, key: &str, digits: usize) -> Result<String, String> {
        let id = self.text(key)?.to_ascii_lowercase();
        if id.bytes().all(|b| b == b'0') {
            return Ok(String::new());
        }
        if id.len() != digits || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(self.wrong(key, &format!("{digits} hexadecimal digits"), &Value::String(id)));
        }
        Ok(id)
    }

    /// A whole number, written as one or as text.
    fn number(&mut self, key: &str) -> Result<u64, String> {
        let Some(value) = self.left.remove(key) else { return Ok(0) };
        let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
        number.ok_or_else(|| self.wrong(key, "a whole number of 64 bits", value))
    }

    fn attributes(&mut self, key: &str) -> Result<Attributes, String> {
        let mut all = Vec::new();
        for (i, attribute) in self.list(key)?.into_iter().enumerate() {
            let mut fields = Fields::of(attribute, &format!("{}.{key}[{i}]", self.place))?;
            let name = fields.text("key")?;
            all.push((name, fields.object("value")?.attribute_value()?));
            fields.nothing_else()?;
        }
        all.sort();
        Ok(Attributes(all))
    }

    fn attribute_value(mut self) -> Result<AttributeValue, String> {
        let Some((&key, &value)) = self.left.first_key_value() else { return Ok(AttributeValue::Empty) };
        let wrong = |what| self.wrong(key, what, value);
        let done = match key {
            "stringValue" => AttributeValue::String(self.text(key)?),
            "bytesValue" => AttributeValue::Bytes(self.text(key)?),
            "boolValue" => AttributeValue::Bool(value.as_bool().ok_or_else(|| wrong("true or false"))?),
            "intValue" => {
                let int = value.as_i64().or_else(|| value.as_str()?.parse().ok());
                AttributeValue::Int(int.ok_or_else(|| wrong("a whole number of 64 bits"))?)
            }
            "doubleValue" => {
                let double = value.as_f64().or_else(|| value.as_str()?.parse().ok());
                AttributeValue::Double(double.ok_or_else(|| wrong("a number"))?.to_bits())
            }
            "arrayValue" => {
                let mut array = self.object(key)?;
                let place = format!("{}.values", array.place);
                let values = array.list("values")?.into_iter();
                let values =
                    values.map(|v| Fields::of(v, &place)?.attribute_value()).collect::<Result<_, _>>()?;
                array.nothing_else()?;
                AttributeValue::Array(values)
            }
            "kvlistValue" => {
                let mut list = self.object(key)?;
                let attributes = list.attributes("values")?;
                list.nothing_else()?;
                AttributeValue::Map(attributes)
            }
            _ => return Err(format!("{}: `{key}` is no kind of value", self.place)),
        };
        self.left.remove(key);
        match self.left.first_key_value() {
            None => Ok(done),
            Some((second, _)) => Err(format!("{} has two values, `{key}` and `{second}`", self.place)),
        }
    }

    /// Refuses what is left, unless it says nothing: defaults may be written out.
    fn nothing_else(self) -> Result<(), String> {
        let says_nothing = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::Number(number) => number.as_u64() == Some(0),
            Value::String(text) => text.is_empty(),
            Value::Array(values) => values.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            Value::Bool(true) => false,
        };
        match self.left.into_iter().find(|(_, value)| !says_nothing(value)) {
            None => Ok(()),
            Some((key, value)) => {
                Err(format!("{}: `{key}` is {value}, and no comparison looks at it", self.place))
            }
        }
    }

    fn wrong(&self, key: &str, what: &str, value: &Value) -> String {
        format!("{}: `{key}` should be {what}, and is {value}", self.place)
    }
}
