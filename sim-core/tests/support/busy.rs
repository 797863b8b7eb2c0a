//! A busy world for the tests of determinism: everything at once.
