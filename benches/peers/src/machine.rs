//! Where and when.

use std::fs::read_to_string;
use std::time::{SystemTime, UNIX_EPOCH};

/// The processor's name, its cores and the kernel.
pub fn describe(threads: usize) -> String {
    let cpu = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpu.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown").to_string()
    };
    let release = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let (family, model) = (field("cpu family"), field("model\t"));
    format!("{} (family {family}, model {model}), {threads} threads, Linux {}", field("model name"), release.trim())
}

/// The version of a crate, as Cargo.lock has it.
pub fn locked(name: &str) -> String {
    let line = format!("name = \"{name}\"\n");
    let package = include_str!("../Cargo.lock").split("[[package]]").find(|package| package.contains(&line));
    let version = package.and_then(|package| package.split("version = \"").nth(1)?.split('"').next());
    version.unwrap_or("unknown").to_string()
}

/// Today in UTC, as in 2026-11-22.
pub fn date() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    // Days to a date, with years that begin in March: the leap day is the last one.
    let days = seconds as i64 / 86_400 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", year + era * 400 + next)
}

#[cfg(test)]
mod tests {
    #[test]
    fn versions_are_locked() {
        assert_eq!(super::locked("gguffuse"), "0.1.0");
        assert_eq!(super::locked("no such crate"), "unknown");
    }

    #[test]
    fn a_date_has_its_form() {
        let date = super::date();
        let parts: Vec<u32> = date.split('-').map(|part| part.parse().unwrap()).collect();
        assert!(parts[0] >= 2026 && (1..=12).contains(&parts[1]) && (1..=31).contains(&parts[2]));
    }
}
