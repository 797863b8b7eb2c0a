//! On whom a fault falls: a name, several, a group, or a role that is resolved at that moment.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

/// See the module. In a plan file: `on = "store"`, `on = { group = "web" }`, `on = { nodes = ["a", "b"] }`,
/// `on = { role = "leader" }`, `on = { state = { key = "lock", value = "held" } }`, `on = { minority = "replica" }`,
/// `on = { any = { group = "web", count = 2 } }`.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Target {
    /// Every node: what a fault without `on` means.
    #[default]
    Everybody,
    /// One node, by its name.
    Node(String),
    /// Several nodes.
    Nodes(Vec<String>),
    /// All nodes of a service.
    Group(String),
    /// The latest node that still claims this value of this state; while nobody does, the fault waits.
    State {
        /// The state, such as `role`.
        key: String,
        /// The value, such as `leader`.
        value: String,
    },
    /// A seeded choice of fewer than half of a service's nodes: the largest such number.
    Minority(String),
    /// A seeded choice of some of a service's nodes.
    Any {
        /// The service.
        group: String,
        /// How many.
        count: usize,
    },
}

impl Target {
    /// The node in that role: [`Target::State`] with the key `role`.
    pub fn role(role: &str) -> Self {
        Self::State { key: "role".to_owned(), value: role.to_owned() }
    }
    /// All nodes of a service.
    pub fn group(service: &str) -> Self {
        Self::Group(service.to_owned())
    }
    pub(super) fn is_everybody(&self) -> bool {
        *self == Self::Everybody
    }
}

impl From<&str> for Target {
    fn from(name: &str) -> Self {
        Self::Node(name.to_owned())
    }
}
impl From<String> for Target {
    fn from(name: String) -> Self {
        Self::Node(name)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everybody => write!(f, "everybody"),
            Self::Node(name) => write!(f, "{name}"),
            Self::Nodes(names) => write!(f, "{}", names.join(", ")),
            Self::Group(group) => write!(f, "all of {group}"),
            Self::State { key, value } if key == "role" => write!(f, "the {value}"),
            Self::State { key, value } => write!(f, "whoever has {key} = {value}"),
            Self::Minority(group) => write!(f, "a minority of {group}"),
            Self::Any { group, count } => write!(f, "{count} of {group}"),
        }
    }
}

/// The map form.
#[derive(Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Written {
    /// Several nodes.
    Nodes(Vec<String>),
    /// All nodes of a service.
    Group(String),
    /// The latest node that still claims this role; while nobody does, the fault waits.
    Role(String),
    /// The latest node that still claims this value of this state; while nobody does, the fault waits.
    State {
        /// The state.
        key: String,
        /// Its value.
        value: String,
    },
    /// A seeded choice of fewer than half of a service's nodes.
    Minority(String),
    /// A seeded choice of some of a service's nodes.
    Any {
        /// The service.
        group: String,
        /// How many.
        count: usize,
    },
}

impl schemars::JsonSchema for Target {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Target".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let name = schemars::json_schema!({ "type": "string", "description": "A node, by its name; \"*\" for every node." });
        schemars::json_schema!({ "anyOf": [name, generator.subschema_for::<Written>()] })
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let written = match self.clone() {
            Self::Everybody => return s.serialize_str("*"),
            Self::Node(name) => return s.serialize_str(&name),
            Self::Nodes(names) => Written::Nodes(names),
            Self::Group(group) => Written::Group(group),
            Self::State { key, value } if key == "role" => Written::Role(value),
            Self::State { key, value } => Written::State { key, value },
            Self::Minority(group) => Written::Minority(group),
            Self::Any { group, count } => Written::Any { group, count },
        };
        written.serialize(s)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct TargetVisitor;
        impl<'de> Visitor<'de> for TargetVisitor {
            type Value = Target;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a node's name, or one of { nodes, group, role, state, minority, any }")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Target, E> {
                Ok(if name == "*" { Target::Everybody } else { Target::Node(name.to_owned()) })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Target, A::Error> {
                Ok(match Written::deserialize(MapAccessDeserializer::new(map))? {
                    Written::Nodes(names) => Target::Nodes(names),
                    Written::Group(group) => Target::Group(group),
                    Written::Role(value) => Target::State { key: "role".to_owned(), value },
                    Written::State { key, value } => Target::State { key, value },
                    Written::Minority(group) => Target::Minority(group),
                    Written::Any { group, count } => Target::Any { group, count },
                })
            }
        }
        d.deserialize_any(TargetVisitor)
    }
}
