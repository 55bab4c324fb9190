//! The server over real sockets: SQLite and objects in a temporary folder, a key provider in this
//! process.

mod access;
mod api;
mod client;
mod damage;
mod drain;
mod fixture;
mod media;
mod operate;
