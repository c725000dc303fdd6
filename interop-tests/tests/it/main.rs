//! Nodes of other libp2p implementations and ours: whoever dials, over every transport, each protocol
//! in a table. And ours among themselves on a local network.

mod bed;
mod crowd;
mod harness;
mod lan;
mod mainline;
mod matrix;
mod meeting;
mod old;
mod people;
mod rendezvous;
mod unsigned;
