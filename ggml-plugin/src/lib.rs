//! A plugin for ggml, the engine under llama.cpp, whisper.cpp and others: loaded as one of ggml's backends, it adds none, but
//! has the engine's own CPU backend multiply with gguffuse's kernels. The engine need not be built for it.
//!
//! ggml's threads compute a graph node by node. The plugin replaces the CPU backend's function that starts them: matrix
//! products it can do become "custom" nodes, which call it in each of those threads, for the time of the computation. So
//! the graph stays in one piece, there are no other threads, and weights are read where the engine has mapped them.
//!
//! - `layout`: the one file with what is not official;
//! - `host`: ggml's public functions, found at run time;
//! - `check`: nothing is replaced for good before its effect was seen;
//! - `hook`: the replaced functions;
//! - `graph`: which nodes are ours, and the work of one;
//! - `work`: what one thread does for a node;
//! - `extra`: which of the engine's own weight formats are kept from it;
//! - `sibling`: being the CPU backend, in the place of the one that lies beside it;
//! - `settings`: environment variables.

#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod check;
mod experts;
mod extra;
mod graph;
mod hook;
mod host;
mod layout;
mod load;
mod settings;
mod sibling;
mod statistics;
mod work;
