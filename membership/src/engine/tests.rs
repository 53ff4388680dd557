//! Whole members in virtual time: real engines, real bytes, a network that loses and delays.

mod explore;
mod world;
