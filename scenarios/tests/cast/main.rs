//! The cast keeps its promises: each test would fail if its part did nothing, or something else.

mod cache;
mod database;
mod figures;
mod flight;
mod kv;
mod load;
mod pool;
mod stories;
mod web;
