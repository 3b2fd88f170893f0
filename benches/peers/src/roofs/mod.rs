//! Roofs: what this machine can do at most. How fast memory is read, how many multiplications the units make.

mod arithmetic;
mod crew;
mod read;

pub use arithmetic::{Unit, has_amx, units};
pub use crew::Crew;
pub use read::{Reader, readers};
