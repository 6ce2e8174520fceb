//! The machine: how much memory a process here may have.

use std::{fs, path::Path};

/// The machine's memory, or the part of it that this process's group of processes may use, where that is less; `None` where
/// Linux does not tell it.
pub fn memory_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    [machine, limit(Path::new("/sys/fs/cgroup"), &groups)].into_iter().flatten().min()
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The least limit of the groups that hold this process, as `/proc/self/cgroup` lists them: `0::/a/b` in version 2,
/// `4:memory:/a/b` in version 1. A group has what every group around it has at most. Without a list, or in a container that
/// sees the path of its group outside and the group itself at the root, the root's limit stands.
fn limit(root: &Path, groups: &str) -> Option<u64> {
    let lines = groups.lines().chain(["0::/", "0:memory:/"]);
    lines.filter_map(|line| limit_around(root, line)).min()
}

fn limit_around(root: &Path, line: &str) -> Option<u64> {
    let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
    let (folder, file) = match controllers {
        "" => (root.to_owned(), "memory.max"),
        some if some.split(',').any(|one| one == "memory") => (root.join("memory"), "memory.limit_in_bytes"),
        _ => return None,
    };
    // `max` is no number, and the older file's "no limit" is more than any machine has.
    let limit = |group: &Path| fs::read_to_string(folder.join(group).join(file)).ok()?.trim().parse().ok();
    Path::new(group.trim_start_matches('/')).ancestors().filter_map(limit).min()
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

    /// A folder with these limits.
    fn tree(limits: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (file, limit) in limits {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, format!("{limit}\n")).unwrap();
        }
        root
    }

    #[test]
    fn the_least_limit_of_a_group_and_those_around_it_counts() {
        let newer = tree(&[
            ("system.slice/memory.max", "5000"),
            ("system.slice/stepwise.service/memory.max", "max"),
            ("system.slice/other.service/memory.max", "10"),
        ]);
        assert_eq!(limit(newer.path(), "0::/system.slice/stepwise.service\n"), Some(5000));
        assert_eq!(limit(newer.path(), "0::/\n"), None);
        let older = tree(&[
            ("memory/memory.limit_in_bytes", "9223372036854771712"),
            ("memory/slurm/job_7/memory.limit_in_bytes", "3000"),
            ("memory/slurm/memory.limit_in_bytes", "4000"),
            ("cpu/slurm/memory.limit_in_bytes", "10"),
        ]);
        assert_eq!(limit(older.path(), "7:cpu,cpuacct:/slurm\n5:memory:/slurm/job_7/step_0\n0::/init\n"), Some(3000));
    }

    #[test]
    fn a_container_sees_its_limit_at_the_root() {
        let root = tree(&[("memory.max", "2000")]);
        for groups in ["", "0::/\n", "0::/docker/0a1b\n", "0::/../outside\n"] {
            assert_eq!(limit(root.path(), groups), Some(2000), "{groups:?}");
        }
    }
}
