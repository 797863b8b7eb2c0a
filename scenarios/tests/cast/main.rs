//! The cast keeps its promises: each test would fail if its part did nothing, or something else.

mod cache;
mod courier;
mod database;
mod durable_log;
mod figures;
mod flight;
mod kv;
mod load;
mod pool;
mod read_through;
mod stories;
mod web;
