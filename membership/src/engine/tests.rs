//! Whole members in virtual time: real engines, real bytes, a network that loses and delays.

mod detection;
mod hostile;
mod life;
mod metadata;
mod partition;
mod world;
