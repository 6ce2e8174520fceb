//! The machine: how much memory a process here may have.

/// The machine's memory, or the part of it that this process's group of processes may use, where that is less; `None` where
/// Linux does not tell it.
pub fn memory_bytes() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    // `max` is no number, and the older file's "no limit" is more than any machine has.
    let limit = limits.iter().filter_map(|path| std::fs::read_to_string(path).ok()?.trim().parse().ok()).min();
    [machine, limit].into_iter().flatten().min()
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read_in_bytes() {
        assert_eq!(total("MemTotal:       24681472 kB\nMemFree:         100 kB\n"), Some(24_681_472 * 1024));
        assert_eq!(total("MemFree: 100 kB"), None);
        assert!(memory_bytes().is_some_and(|bytes| bytes > 1 << 27));
    }
}
