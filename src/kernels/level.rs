//! The ISA levels: an ordered, nameable, forceable list. Knows no kernel.

use crate::error::{Error, Result, error};
use std::sync::OnceLock;

/// An instruction-set level, ordered by what it can do. A machine may lack one that lies between two that it has: AVX-512
/// came before AVX-VNNI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Plain Rust, on every machine.
    Scalar,
    /// AVX2, FMA and F16C.
    Avx2,
    /// AVX2 with the VEX-coded VNNI instructions.
    AvxVnni,
    /// AVX-512 F, BW, DQ, VL and VNNI.
    Avx512Vnni,
    /// AMX with 8-bit integers, on Linux.
    Amx,
}

/// The cap that `GGUFFUSE_MAX_ISA` sets, as the process's first context finds it. It is read once, and not through
/// `std::env`, which copies it to the heap and aborts the process when there is none.
fn cap_of_environment() -> Result<Level> {
    /// `None`: the name of no level.
    static CAP: OnceLock<Option<Level>> = OnceLock::new();
    let cap = CAP.get_or_init(|| {
        // SAFETY: the name is a C string. The text is read at once: only a host that changes its environment at this
        // very moment, in another thread, could take it away, as it could for any reader.
        let value = unsafe { libc::getenv(c"GGUFFUSE_MAX_ISA".as_ptr()) };
        if value.is_null() {
            return Some(Level::Amx);
        }
        // SAFETY: `getenv` gives a C string.
        let name = unsafe { std::ffi::CStr::from_ptr(value) }.to_bytes();
        let named = Level::ALL.iter().copied().find(|level| level.name().as_bytes() == name);
        if name.is_empty() { Some(Level::Amx) } else { named }
    });
    cap.ok_or_else(|| error!(UnsupportedIsa, "GGUFFUSE_MAX_ISA names no level"))
}

impl Level {
    /// Every level, lowest first, whether or not this machine and this build have it.
    pub const ALL: &'static [Level] = &[Level::Scalar, Level::Avx2, Level::AvxVnni, Level::Avx512Vnni, Level::Amx];

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
    ///
    /// # Errors
    /// `UnsupportedIsa` where this build knows no such level. A known level that the machine lacks is no error: a name
    /// caps, it never raises.
    pub fn from_name(name: &str) -> Result<Level> {
        let level = Level::ALL.iter().copied().find(|level| level.name() == name);
        level.ok_or_else(|| error!(UnsupportedIsa, "no level is called {name:?}"))
    }

    /// The levels that have kernels in this build and that the CPU and the OS have, lowest first. For `amx` the OS also has to
    /// let the process use it, which it is asked when a context wants it: see [`Level::granted`].
    pub fn available() -> &'static [Level] {
        static AVAILABLE: OnceLock<(usize, [Level; Level::ALL.len()])> = OnceLock::new();
        let (count, levels) = AVAILABLE.get_or_init(|| {
            let mut levels = [Level::Scalar; Level::ALL.len()];
            let mut count = 0;
            for level in Level::ALL.iter().copied().filter(|level| level.is_supported()) {
                levels[count] = level;
                count += 1;
            }
            (count, levels)
        });
        &levels[..*count]
    }

    /// The best available level at most `cap` (`None`: any) and at most what `GGUFFUSE_MAX_ISA` says.
    ///
    /// # Errors
    /// `UnsupportedIsa` where a name is unknown.
    pub fn best(cap: Option<&str>) -> Result<Level> {
        let highest = match cap {
            Some(name) => Level::from_name(name)?.min(cap_of_environment()?),
            None => cap_of_environment()?,
        };
        let best = Level::available().iter().copied().rfind(|level| *level <= highest);
        best.ok_or(Error::Internal("the scalar level is always available"))
    }

    /// This level, or the best one below it where the OS refuses what this one needs. Asks the OS, which for `amx` changes what
    /// it demands of alternate signal stacks from then on.
    pub fn granted(self) -> Level {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if self == Level::Amx && !super::amx::request_permission() {
            let below = Level::available().iter().copied().rfind(|level| *level < self);
            return below.unwrap_or(Level::Scalar);
        }
        self
    }

    /// Whether there are kernels for the level and the CPU and the OS have it.
    fn is_supported(self) -> bool {
        match self {
            Level::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => {
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
            }
            #[cfg(target_arch = "x86_64")]
            Level::AvxVnni => Level::Avx2.is_supported() && is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni => {
                Level::Avx2.is_supported()
                    && is_x86_feature_detected!("bmi2")
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Level::Amx => Level::Avx512Vnni.is_supported() && super::amx::is_available(),
            #[allow(unreachable_patterns, reason = "on x86_64 Linux every level has its line")]
            _ => false,
        }
    }
}
