//! Roofs: what this machine can do at most. How fast memory is read, how many multiplications the units make.

mod arithmetic;
mod crew;
mod read;

#[cfg(feature = "candle")]
pub use arithmetic::has_amx;
pub use arithmetic::{Unit, units};
pub use crew::Crew;
pub use read::{Reader, readers};
