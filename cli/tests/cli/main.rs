//! The commands, from the outside: documents, texts, messages, exit statuses. One test program for all of them, since each
//! would be linked with the whole workspace.

#[path = "../common/mod.rs"]
mod common;

mod asked;
mod bad_input;
mod bugs;
mod check;
mod export;
mod folder;
mod pages;
mod process;
mod replay;
mod scenario;
mod shrink;
mod sweep;
