//! The ISA levels: an ordered, nameable, forceable list. Knows no kernel.

use crate::error::{Error, Result, error};
use std::sync::atomic::{AtomicU32, Ordering};

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

// What is found out once is kept in atomics: a `OnceLock` would make the child of a fork wait for ever, if another thread of
// its parent was just finding it out.

/// The cap that `GGUFFUSE_MAX_ISA` sets, as the process's first context finds it. It is read once, and not through
/// `std::env`, which copies it to the heap and aborts the process when there is none.
fn cap_of_environment() -> Result<Level> {
    const NOT_READ: u32 = u32::MAX;
    /// The level's place in `ALL`, or beyond: the name of no level.
    static CAP: AtomicU32 = AtomicU32::new(NOT_READ);
    let read = || {
        // SAFETY: the name is a C string. The text is read at once: only a host that changes its environment at this
        // very moment, in another thread, could take it away, as it could for any reader.
        let value = unsafe { libc::getenv(c"GGUFFUSE_MAX_ISA".as_ptr()) };
        if value.is_null() {
            return Level::Amx as u32;
        }
        // SAFETY: `getenv` gives a C string.
        let name = unsafe { std::ffi::CStr::from_ptr(value) }.to_bytes();
        let named = Level::ALL.iter().position(|level| level.name().as_bytes() == name);
        if name.is_empty() { Level::Amx as u32 } else { named.unwrap_or(Level::ALL.len()) as u32 }
    };
    // Relaxed: the number is all there is. Whoever is first is right.
    let cap = match CAP.load(Ordering::Relaxed) {
        NOT_READ => {
            let cap = read();
            CAP.compare_exchange(NOT_READ, cap, Ordering::Relaxed, Ordering::Relaxed)
                .map_or_else(|first| first, |_| cap)
        }
        cap => cap,
    };
    let level = Level::ALL.get(cap as usize).copied();
    level.ok_or_else(|| error!(UnsupportedIsa, "GGUFFUSE_MAX_ISA names no level"))
}

const COUNT: usize = Level::ALL.len();

/// The sets of levels, each as a list: set number i has the level at place p of `ALL` where bit p of i is set.
static SETS: [[Level; COUNT]; 1 << COUNT] = {
    let mut sets = [[Level::Scalar; COUNT]; 1 << COUNT];
    let mut number = 0;
    while number < sets.len() {
        let (mut place, mut count) = (0, 0);
        while place < COUNT {
            if number >> place & 1 == 1 {
                sets[number][count] = Level::ALL[place];
                count += 1;
            }
            place += 1;
        }
        number += 1;
    }
    sets
};

/// The number of the set of the levels that this machine has. Never 0, as every machine has the scalar one.
fn set_of_this_machine() -> u32 {
    static SET: AtomicU32 = AtomicU32::new(0);
    // Relaxed: the number is all there is, and whoever finds it finds the same.
    let mut set = SET.load(Ordering::Relaxed);
    if set == 0 {
        let has = |(place, level): (usize, &Level)| u32::from(level.is_supported()) << place;
        set = Level::ALL.iter().enumerate().map(has).sum();
        SET.store(set, Ordering::Relaxed);
    }
    set
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
        let set = set_of_this_machine();
        &SETS[set as usize][..set.count_ones() as usize]
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
