//! How an ISA computes. (Interface; implementation follows.)

use crate::error::{Result, error};

/// An instruction-set level, ordered: a later one may do all that an earlier one does.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    Scalar,
    Avx2,
    AvxVnni,
    Avx512Vnni,
    Amx,
}

impl Level {
    /// The level's name with a trailing NUL, for C.
    pub const fn name_with_nul(self) -> &'static str {
        match self {
            Level::Scalar => "scalar\0",
            Level::Avx2 => "avx2\0",
            Level::AvxVnni => "avxvnni\0",
            Level::Avx512Vnni => "avx512vnni\0",
            Level::Amx => "amx\0",
        }
    }

    /// The level's name, as in `GGUFFUSE_MAX_ISA`.
    pub fn name(self) -> &'static str {
        self.name_with_nul().trim_end_matches('\0')
    }

    /// The level called `name`.
    pub fn from_name(name: &str) -> Result<Level> {
        [
            Level::Scalar,
            Level::Avx2,
            Level::AvxVnni,
            Level::Avx512Vnni,
            Level::Amx,
        ]
        .into_iter()
        .find(|level| level.name() == name)
        .ok_or_else(|| error!(UnsupportedIsa, "no level is called {name:?}"))
    }

    /// The levels that this machine and this build have, lowest first.
    pub fn available() -> &'static [Level] {
        &[Level::Scalar]
    }
}
