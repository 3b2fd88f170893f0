//! CPUs: how many this process may use, and moving a thread that waits for one.
//!
//! How many: its affinity, and the CPU quota of its cgroup and of those above, version 1 or 2. `std::thread::available_parallelism`
//! tells the same, but takes heap for it and aborts the process when there is none.

/// CPUs that the calling thread may run on, or fewer where a quota allows no more; at least 1.
#[cfg(target_os = "linux")]
pub(super) fn available() -> usize {
    let mut text = [0; 4096];
    let groups = read(c"/proc/self/cgroup", &mut text);
    allowed().min(quota(b"/sys/fs/cgroup", groups)).max(1)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn available() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Has threads of this process that wait for the calling thread's CPU run on another one that they may use; does nothing to those
/// that wait for other CPUs, or sleep. Their affinity changes for a moment and then is again what it was: what somebody else makes
/// it in between is lost. Where it cannot be changed nothing happens.
pub(super) fn move_off_this_cpu(threads: &mut dyn Iterator<Item = u32>) {
    #[cfg(target_os = "linux")]
    linux::move_off_this_cpu(threads);
    #[cfg(not(target_os = "linux"))]
    let _ = threads;
}

#[cfg(target_os = "linux")]
use linux::{allowed, quota, read};

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::CStr;

    /// CPUs that the thread's affinity has.
    pub(super) fn allowed() -> usize {
        // SAFETY: a set of the size given, whose zeros are a set; `sysconf` has no conditions.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            let count = match libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) {
                0 => i64::from(libc::CPU_COUNT(&set)),
                // More CPUs than the set has.
                _ => libc::sysconf(libc::_SC_NPROCESSORS_ONLN) as i64,
            };
            usize::try_from(count).unwrap_or(1)
        }
    }

    /// See the function of that name above.
    pub(super) fn move_off_this_cpu(threads: &mut dyn Iterator<Item = u32>) {
        const BYTES: usize = size_of::<libc::cpu_set_t>();
        // SAFETY: no conditions.
        let Ok(cpu) = usize::try_from(unsafe { libc::sched_getcpu() }) else { return };
        if cpu >= 8 * BYTES {
            return;
        }
        for thread in threads {
            let thread = thread as libc::pid_t;
            // SAFETY: sets of the size given, whose zeros are a set; the CPU is within one, as was asked.
            unsafe {
                let mut before: libc::cpu_set_t = std::mem::zeroed();
                if libc::sched_getaffinity(thread, BYTES, &mut before) != 0 || !libc::CPU_ISSET(cpu, &before) {
                    continue;
                }
                let mut others = before;
                libc::CPU_CLR(cpu, &mut others);
                // Without a CPU it fails, and nothing is changed.
                if libc::sched_setaffinity(thread, BYTES, &others) == 0 {
                    libc::sched_setaffinity(thread, BYTES, &before);
                }
            }
        }
    }

    /// The first bytes of a file; none where there is no such file.
    pub(super) fn read<'b>(path: &CStr, buffer: &'b mut [u8]) -> &'b [u8] {
        // SAFETY: a C string; a buffer of the length given; the descriptor is closed where it was opened.
        let count = unsafe {
            let file = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
            if file < 0 {
                return &[];
            }
            let count = libc::read(file, buffer.as_mut_ptr().cast(), buffer.len());
            libc::close(file);
            count
        };
        &buffer[..usize::try_from(count).unwrap_or(0)]
    }

    /// The quota in whole CPUs that `groups`, the text of /proc/self/cgroup, come to below the mounts at `root`: the least of
    /// each group and those above it.
    pub(super) fn quota(root: &[u8], groups: &[u8]) -> usize {
        let mut least = usize::MAX;
        for line in groups.split(|byte| *byte == b'\n') {
            // hierarchy:controllers:path
            let mut fields = line.splitn(3, |byte| *byte == b':');
            let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            if controllers.is_empty() {
                least = least.min(quota_of_tree(&[root], path, quota_2));
            } else if controllers.split(|byte| *byte == b',').any(|controller| controller == b"cpu") {
                for mount in [&b"/cpu"[..], b"/cpu,cpuacct"] {
                    least = least.min(quota_of_tree(&[root, mount], path, quota_1));
                }
            }
        }
        least
    }

    /// The least quota of the group `path` and of those above it, up to the mount. A container may see the path of the
    /// machine, but the mount begins at its own group: groups that are not there are passed over.
    fn quota_of_tree(mount: &[&[u8]], mut path: &[u8], quota: fn(&[&[u8]]) -> Option<usize>) -> usize {
        let mut least = usize::MAX;
        loop {
            while let [shorter @ .., b'/'] = path {
                path = shorter;
            }
            let mut group = [&[][..]; 3];
            group[..mount.len()].copy_from_slice(mount);
            group[mount.len()] = path;
            least = least.min(quota(&group).unwrap_or(usize::MAX));
            match path.iter().rposition(|byte| *byte == b'/') {
                Some(slash) => path = &path[..slash],
                None => return least,
            }
        }
    }

    /// cpu.max of version 2: "quota period", or "max period".
    fn quota_2(group: &[&[u8]]) -> Option<usize> {
        let mut text = [0; 64];
        let text = read_in(group, b"/cpu.max", &mut text)?;
        let mut numbers = text.split(u8::is_ascii_whitespace);
        Some((number(numbers.next()?)? / number(numbers.next()?)?.max(1)).max(1))
    }

    /// Version 1: two files; a quota of -1 is none.
    fn quota_1(group: &[&[u8]]) -> Option<usize> {
        let (mut quota, mut period) = ([0; 64], [0; 64]);
        let quota = read_in(group, b"/cpu.cfs_quota_us", &mut quota)?;
        let period = read_in(group, b"/cpu.cfs_period_us", &mut period)?;
        Some((number(quota.trim_ascii())? / number(period.trim_ascii())?.max(1)).max(1))
    }

    fn number(text: &[u8]) -> Option<usize> {
        std::str::from_utf8(text).ok()?.parse().ok()
    }

    /// A short file of a group.
    fn read_in<'b>(group: &[&[u8]], name: &[u8], buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        let mut path = [0; 4096];
        let mut length = 0;
        for part in group.iter().copied().chain([name]) {
            path.get_mut(length..length + part.len())?.copy_from_slice(part);
            length += part.len();
        }
        // Without a NUL there is no room for one: a path that no file has.
        Some(read(CStr::from_bytes_until_nul(&path).ok()?, buffer))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::{available, move_off_this_cpu, quota};
    use crate::matmul::thread::{thread_number, wait, wake};
    use std::os::unix::ffi::OsStrExt;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// The affinity of a thread (0: the calling one), as numbers of CPUs.
    fn affinity(thread: u32) -> Vec<usize> {
        // SAFETY: a set of the size given, whose zeros are a set.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            assert_eq!(libc::sched_getaffinity(thread as libc::pid_t, size_of_val(&set), &mut set), 0);
            (0..8 * size_of_val(&set)).filter(|cpu| libc::CPU_ISSET(*cpu, &set)).collect()
        }
    }

    fn set_affinity(thread: u32, cpus: &[usize]) {
        // SAFETY: as above.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            cpus.iter().for_each(|cpu| libc::CPU_SET(*cpu, &mut set));
            assert_eq!(libc::sched_setaffinity(thread as libc::pid_t, size_of_val(&set), &set), 0);
        }
    }

    /// The CPU that a thread runs on or waits for.
    fn cpu_of(thread: u32) -> usize {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
        // Field 39; the name, which is field 2, ends with the last parenthesis.
        stat.rsplit_once(") ").unwrap().1.split(' ').nth(36).unwrap().parse().unwrap()
    }

    /// A thread that waits behind the one that woke it then waits for another CPU, and may still use all that it could before.
    #[test]
    fn threads_that_wait_for_this_cpu_are_moved() {
        let all = affinity(0);
        let [here, there, ..] = all[..] else {
            // A single CPU: nothing can be moved, and nothing is changed.
            move_off_this_cpu(&mut [thread_number()].into_iter());
            assert_eq!(affinity(0), all);
            return;
        };
        let (mut attempts, mut waited, mut moved) = (0, 0, 0);
        while waited < 5 {
            attempts += 1;
            assert!(attempts < 500, "the thread never waited for this CPU: {waited} times of {attempts}");
            let [word, number, began, done] = [const { AtomicU32::new(0) }; 4];
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    // So that the kernel queues it there, whatever it thinks of other CPUs, and not before who wakes it.
                    set_affinity(0, &[here]);
                    // SAFETY: a parameter that the call only reads.
                    let batch = unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &std::mem::zeroed()) };
                    assert_eq!(batch, 0);
                    number.store(thread_number(), Ordering::SeqCst);
                    while word.load(Ordering::SeqCst) == 0 {
                        wait(&word, 0);
                    }
                    began.store(1, Ordering::SeqCst);
                    while done.load(Ordering::SeqCst) == 0 {
                        std::thread::yield_now();
                    }
                });
                while number.load(Ordering::SeqCst) == 0 {
                    std::thread::yield_now();
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
                set_affinity(0, &[here]);
                let thread = number.load(Ordering::SeqCst);
                word.store(1, Ordering::SeqCst);
                wake(&word, 1);
                // Else this thread lost its CPU at the wrong moment.
                let waits = began.load(Ordering::SeqCst) == 0;
                // It may run here and there now, which alone moves nobody.
                set_affinity(thread, &[here, there]);
                move_off_this_cpu(&mut [thread].into_iter());
                if waits {
                    waited += 1;
                    moved += u32::from(cpu_of(thread) == there);
                }
                assert_eq!(affinity(thread), [here, there]);
                done.store(1, Ordering::SeqCst);
                set_affinity(0, &all);
            });
        }
        // All of them, but where the kernel balances its queues at the wrong moment.
        assert!(moved >= 3, "{moved} of {waited}");
    }

    #[test]
    fn as_many_as_std_says() {
        assert_eq!(available(), std::thread::available_parallelism().unwrap().get());
    }

    #[test]
    fn quotas_of_groups_and_those_above() {
        let root = std::env::temp_dir().join(format!("gguffuse-cgroup-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let of = |groups: &str| quota(root.as_os_str().as_bytes(), groups.as_bytes());
        write("cpu.max", "max 100000\n");
        write("a/cpu.max", "350000 100000\n");
        write("a/b/cpu.max", "max 100000\n");
        write("a/b/c/cpu.max", "50000 100000\n");
        assert_eq!(of("0::/\n"), usize::MAX);
        assert_eq!(of("0::/a\n"), 3, "whole CPUs");
        assert_eq!(of("0::/a/b\n"), 3, "of the one above");
        assert_eq!(of("0::/a/b/c\n"), 1, "at least one");
        assert_eq!(of("0::/a/elsewhere/d\n"), 3, "a path that is not mounted here");
        assert_eq!(of(""), usize::MAX);
        assert_eq!(of("nonsense\n0:\n"), usize::MAX);
        assert_eq!(of(&format!("0::/{}\n", "x".repeat(5000))), usize::MAX, "too long for a path");
        write("cpu/cpu.cfs_quota_us", "-1\n");
        write("cpu/cpu.cfs_period_us", "100000\n");
        write("cpu/x/cpu.cfs_quota_us", "200000\n");
        write("cpu/x/cpu.cfs_period_us", "100000\n");
        write("cpu,cpuacct/y/cpu.cfs_quota_us", "600000\n");
        write("cpu,cpuacct/y/cpu.cfs_period_us", "100000\n");
        assert_eq!(of("4:memory:/x\n3:cpu,cpuacct:/x/z\n"), 2);
        assert_eq!(of("3:cpuacct,cpu:/y\n"), 6);
        assert_eq!(of("3:cpu:/\n"), usize::MAX);
        assert_eq!(of("3:cpuset:/x\n"), usize::MAX, "another controller");
        assert_eq!(of("3:cpu:/x\n0::/a\n"), 2, "both versions: the least");
        std::fs::remove_dir_all(&root).unwrap();
    }
}
