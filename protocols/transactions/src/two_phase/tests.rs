//! What the protocol says, read from its effects: no simulator, no network, no waiting.
