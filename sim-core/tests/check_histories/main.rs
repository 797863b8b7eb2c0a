//! The checkers of histories: verdicts that can be proved by hand, and agreement with the shortest program that could be
//! right.

mod check_foreign;
mod check_linearizability;
mod check_others;
mod check_sessions;
mod check_textbook;
mod support;
