//! How many threads the process may run at once: its affinity, and the quota of its control group. As
//! `std::thread::available_parallelism` does it, which takes heap and aborts the process when there is none; here a file is
//! read into the stack.

/// At least 1.
#[cfg(target_os = "linux")]
pub(super) fn available() -> usize {
    affinity().min(quota().unwrap_or(usize::MAX)).max(1)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn available() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The CPUs that the calling thread may run on.
#[cfg(target_os = "linux")]
fn affinity() -> usize {
    // SAFETY: all zeros is an empty set; the kernel writes at most the size that it is told.
    let count = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        match libc::sched_getaffinity(0, size_of_val(&set), &mut set) {
            0 => libc::CPU_COUNT(&set),
            // More CPUs than the set has bits.
            _ => libc::sysconf(libc::_SC_NPROCESSORS_ONLN) as libc::c_int,
        }
    };
    usize::try_from(count).unwrap_or(1)
}

/// Longest path and longest file that are looked at. std takes heap for a path from 384 bytes on.
#[cfg(target_os = "linux")]
const PATH_BYTES: usize = 383;
#[cfg(target_os = "linux")]
const FILE_BYTES: usize = 4096;

/// The smallest quota of the process's control group and those above it, in whole CPUs; `None` without one. Version 2,
/// and version 1 where distributions mount it.
#[cfg(target_os = "linux")]
fn quota() -> Option<usize> {
    let mut buffer = [0; FILE_BYTES];
    let groups = read("/proc/self/cgroup", &mut buffer)?;
    let mut unified = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, group) = (fields.next()?, fields.next()?);
        if controllers.split(',').any(|controller| controller == "cpu") {
            let of = |mount| smallest(mount, group, &|directory| quota_v1(directory));
            return of("/sys/fs/cgroup/cpu").or_else(|| of("/sys/fs/cgroup/cpu,cpuacct"));
        }
        unified = unified.or(controllers.is_empty().then_some(group));
    }
    smallest("/sys/fs/cgroup", unified?, &|directory| quota_v2(directory))
}

/// The smallest of what `quota` says of the directories from `mount` down to `group` in it.
#[cfg(target_os = "linux")]
fn smallest(mount: &str, group: &str, quota: &dyn Fn(&str) -> Option<usize>) -> Option<usize> {
    let mut buffer = [0; PATH_BYTES];
    let path = join(&mut buffer, &[mount, group.trim_end_matches('/')])?;
    let ends = path.char_indices().filter_map(|(index, character)| (character == '/').then_some(index));
    let ends = ends.filter(|end| *end >= mount.len()).chain([path.len()]);
    ends.filter_map(|end| quota(&path[..end])).min()
}

#[cfg(target_os = "linux")]
fn quota_v2(directory: &str) -> Option<usize> {
    let (mut path, mut text) = ([0; PATH_BYTES], [0; FILE_BYTES]);
    let text = read(join(&mut path, &[directory, "/cpu.max"])?, &mut text)?;
    let (limit, period) = text.trim_end().split_once(' ')?;
    limit.parse::<usize>().ok()?.checked_div(period.parse().ok()?)
}

#[cfg(target_os = "linux")]
fn quota_v1(directory: &str) -> Option<usize> {
    let number = |name| {
        let (mut path, mut text) = ([0; PATH_BYTES], [0; FILE_BYTES]);
        read(join(&mut path, &[directory, name])?, &mut text)?.trim_end().parse::<usize>().ok()
    };
    number("/cpu.cfs_quota_us")?.checked_div(number("/cpu.cfs_period_us")?)
}

/// The beginning of a file, up to `buffer`'s length.
#[cfg(target_os = "linux")]
fn read<'a>(path: &str, buffer: &'a mut [u8]) -> Option<&'a str> {
    use std::io::Read;
    let mut file = std::fs::File::open(path).ok()?;
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(why) if why.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    std::str::from_utf8(&buffer[..filled]).ok()
}

#[cfg(target_os = "linux")]
fn join<'a>(buffer: &'a mut [u8], parts: &[&str]) -> Option<&'a str> {
    let mut filled = 0;
    for part in parts {
        buffer.get_mut(filled..filled + part.len())?.copy_from_slice(part.as_bytes());
        filled += part.len();
    }
    std::str::from_utf8(&buffer[..filled]).ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn as_std_says() {
        assert_eq!(available(), std::thread::available_parallelism().unwrap().get());
    }

    #[test]
    fn quotas_are_read_from_the_mount_down_to_the_group() {
        let root = std::env::temp_dir().join(format!("gguffuse-cores-{}", std::process::id()));
        let group = root.join("a/b");
        std::fs::create_dir_all(&group).unwrap();
        let mount = root.to_str().unwrap();
        let v2 = || smallest(mount, "/a/b", &quota_v2);
        let v1 = || smallest(mount, "/a/b", &quota_v1);
        assert_eq!((v1(), v2()), (None, None));
        let write = |name: &str, text: &str| std::fs::write(root.join(name), text).unwrap();
        write("cpu.max", "800000 100000\n");
        write("a/cpu.max", "max 100000\n");
        write("a/b/cpu.max", "350000 100000\n");
        assert_eq!(v2(), Some(3));
        write("cpu.max", "200000 100000\n");
        assert_eq!(v2(), Some(2));
        assert_eq!(smallest(mount, "/", &quota_v2), Some(2));
        write("a/cpu.max", "50000 0\n");
        assert_eq!(v2(), Some(2), "a period of 0 is none");
        write("a/cpu.cfs_quota_us", "400000\n");
        write("a/cpu.cfs_period_us", "100000\n");
        write("a/b/cpu.cfs_quota_us", "-1\n");
        write("a/b/cpu.cfs_period_us", "100000\n");
        assert_eq!(v1(), Some(4));
        assert_eq!(smallest(mount, &"/a".repeat(PATH_BYTES), &quota_v1), None, "longer than what is looked at");
        std::fs::remove_dir_all(root).unwrap();
    }
}
