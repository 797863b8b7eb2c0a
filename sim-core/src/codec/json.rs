//! Values as JSON text, for the inputs and outputs of operations.

use serde::Serialize;

/// The value as compact JSON, keys in the order in which the type has them.
///
/// # Panics
/// When the type's own `Serialize` fails, or it has maps whose keys are no texts: an error of the program.
pub fn to_text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("the input of an operation can be written as JSON")
}
