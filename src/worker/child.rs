//! The child process of one training attempt: the frames that it writes, and the orders that it is given.
//!
//! ```text
//! worker ── standard input ──▶ child     `snapshot_and_stop`; closed: leave at once
//!        ◀── standard output ─           frames, one JSON object a line; the last is finished, failed or stopped
//!        ◀── standard error ──           its log, of which the end goes into an error
//! ```
//!
//! The child holds no credentials and no connection. It ends by itself when its standard input closes, which the kernel
//! does when this process dies in any way; it is killed when the attempt must stop and nothing can be kept.

use std::{
    collections::VecDeque,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    task::JoinHandle,
};

use super::{AttemptError, inputs::scratch_failed};
use crate::{
    domain::{Frame, JobError, Order, out_of_memory},
    telemetry,
};

/// Lines of the child's log that go into an error.
const TAIL_LINES: usize = 12;

/// A running attempt.
pub struct TrainingChild {
    process: Child,
    orders: Orders,
    frames: Frames,
    tail: Arc<Mutex<VecDeque<String>>>,
    log: JoinHandle<()>,
    /// Processes that the kernel had killed for memory when this one began.
    killed_before: Option<u64>,
}

/// What the child says.
pub struct Frames(Lines<BufReader<ChildStdout>>);

/// What the child is told. Held open: its end is the order to leave.
pub struct Orders(Option<ChildStdin>);

impl TrainingChild {
    /// Starts `program train folder` with the given number of threads.
    pub fn start(program: &Path, folder: &Path, threads: usize) -> Result<Self, AttemptError> {
        let mut process = Command::new(program)
            .arg("train")
            .arg(folder)
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_needed)))
            .envs(telemetry::environment())
            .env("OMP_NUM_THREADS", threads.to_string())
            // Threads that wait by spinning starve each other as soon as anything else wants a core: on a busy machine of
            // two cores a step was ten times slower.
            .env("OMP_WAIT_POLICY", "PASSIVE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| scratch_failed(program, &error))?;
        let standard_output = process.stdout.take().expect("standard output was asked for as a pipe");
        let standard_error = process.stderr.take().expect("standard error was asked for as a pipe");
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        Ok(Self {
            orders: Orders(process.stdin.take()),
            frames: Frames(BufReader::new(standard_output).lines()),
            log: tokio::spawn(keep_tail(standard_error, Arc::clone(&tail))),
            tail,
            process,
            killed_before: processes_killed_for_memory(),
        })
    }

    /// Both directions, to be used side by side.
    pub fn channels(&mut self) -> (&mut Frames, &mut Orders) {
        (&mut self.frames, &mut self.orders)
    }

    /// Ends the child now, and returns when the device is free.
    pub async fn kill(mut self) {
        // An error means that it is gone already.
        drop(self.process.kill().await);
    }

    /// Why a child that closed its output without a last frame did so.
    pub async fn post_mortem(mut self) -> AttemptError {
        let status = self.process.wait().await;
        drop(self.log.await);
        let tail =
            self.tail.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect::<Vec<_>>().join("\n");
        let signal = status.as_ref().ok().and_then(ExitStatusExt::signal);
        let how = status.map_or_else(|error| error.to_string(), describe);
        let message = format!("the training process {how}\n{tail}");
        let (code, hint) = if died_of_memory(signal, &tail, self.killed_before, processes_killed_for_memory()) {
            (JobError::OUT_OF_MEMORY, out_of_memory::HINT)
        } else {
            ("training_process_died", "if the machine ran out of memory, use a smaller micro_batch_size or student")
        };
        AttemptError::passing(JobError::new(code, message.trim_end()).with_hint(hint))
    }
}

impl Frames {
    /// The next frame; none when the child has closed its output.
    pub async fn next(&mut self) -> Result<Option<Frame>, AttemptError> {
        let line = self.0.next_line().await.map_err(|error| protocol(error.to_string()))?;
        let Some(line) = line else { return Ok(None) };
        let frame = serde_json::from_str(&line);
        frame
            .map(Some)
            .map_err(|error| protocol(format!("{error} in {:?}", line.chars().take(200).collect::<String>())))
    }
}

impl Orders {
    /// Gives an order. A child that has gone takes none; its frames tell how it went.
    pub async fn give(&mut self, order: Order) {
        let Some(standard_input) = &mut self.0 else { return };
        if let Err(error) = standard_input.write_all(format!("{}\n", order.as_str()).as_bytes()).await {
            tracing::debug!(%error, "the training process takes no order any more");
        }
    }
}

/// Whether the child needs a variable. It is given these alone, since any other may hold a password or a teacher's key.
fn is_needed(name: &str) -> bool {
    const NAMES: [&str; 7] = ["HOME", "LANG", "LD_LIBRARY_PATH", "LD_PRELOAD", "PATH", "TMPDIR", "TZ"];
    const FAMILIES: [&str; 16] = [
        "ATEN_", "CUBLAS_", "CUDA_", "CUDNN_", "DNNL_", "GLIBC_", "GOMP_", "KMP_", "LC_", "MALLOC_", "MKL_", "NCCL_",
        "NVIDIA_", "OMP_", "ONEDNN_", "RUST_",
    ];
    NAMES.contains(&name) || FAMILIES.iter().any(|family| name.starts_with(family))
}

/// Whether a process that nobody here ended died because there was no memory left: its allocator said so before it aborted,
/// or the kernel killed it. Words before any other end may be of a shortage that the process has survived. The kernel counts
/// whom it kills; where it does not say, a process that was killed is taken for one of them.
fn died_of_memory(signal: Option<i32>, last_words: &str, before: Option<u64>, after: Option<u64>) -> bool {
    match signal {
        Some(libc::SIGABRT) => out_of_memory::is_told_by(last_words),
        Some(libc::SIGKILL) => before.is_none() || before < after,
        _ => false,
    }
}

/// How many processes the kernel has killed for memory since it started, by Linux's own count.
fn processes_killed_for_memory() -> Option<u64> {
    let counts = std::fs::read_to_string("/proc/vmstat").ok()?;
    counts.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

fn protocol(message: String) -> AttemptError {
    AttemptError::passing(JobError::new("training_protocol", format!("the training process wrote no frame: {message}")))
}

async fn keep_tail(standard_error: impl AsyncRead + Unpin, tail: Arc<Mutex<VecDeque<String>>>) {
    let mut lines = BufReader::new(standard_error).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        tracing::debug!(target: "train", "{line}");
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.len() == TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_died_of_memory_when_it_or_the_kernel_says_so() {
        let words = "memory allocation of 1073741824 bytes failed";
        assert!(died_of_memory(Some(libc::SIGABRT), words, Some(0), Some(0)));
        assert!(!died_of_memory(Some(libc::SIGABRT), "assertion failed", Some(0), Some(0)));
        assert!(died_of_memory(Some(libc::SIGKILL), "", Some(3), Some(4)));
        assert!(!died_of_memory(Some(libc::SIGKILL), "", Some(3), Some(3)), "somebody killed it by hand");
        assert!(!died_of_memory(Some(libc::SIGKILL), words, Some(3), Some(3)), "it had survived that shortage");
        assert!(!died_of_memory(Some(libc::SIGSEGV), words, Some(3), Some(3)), "it had survived that shortage");
        assert!(died_of_memory(Some(libc::SIGKILL), "", None, None));
        assert!(!died_of_memory(None, "", Some(3), Some(4)));
    }
}
