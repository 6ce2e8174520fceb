//! `stepwise train DIR`: one attempt of one training job. Needs neither database nor network. Standard output carries
//! frames alone, one a line; everything else goes to standard error. Standard input, where it is a pipe, brings orders.

use std::io::{self, BufRead, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::domain::{AttemptSpec, Frame, JobError, Order};
use crate::trainer::{self, Ended, StopRequest};

/// What the process ends with when its parent goes away.
const ORPHANED: i32 = 3;

/// Reads `DIR/spec.json`, trains, and ends with 0 after a `finished` or `stopped` frame or 1 after a `failed` one.
pub fn run(folder: &Path) -> ExitCode {
    let stop = StopRequest::default();
    obey_parent(stop.clone());
    let result = read_spec(folder).and_then(|spec| {
        trainer::train(folder, &spec, &stop, &mut send).map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "training failed");
            (error.job_error(), error.is_retryable())
        })
    });
    match result {
        Ok(Ended::Finished(outcome)) => {
            send(Frame::Finished { outcome });
            ExitCode::SUCCESS
        }
        Ok(Ended::Stopped) => {
            send(Frame::Stopped);
            ExitCode::SUCCESS
        }
        Err((error, retryable)) => {
            send(Frame::Failed { error, retryable });
            ExitCode::FAILURE
        }
    }
}

fn read_spec(folder: &Path) -> Result<AttemptSpec, (JobError, bool)> {
    let path = folder.join("spec.json");
    let broken = |error: &dyn std::fmt::Display| JobError::new("attempt_spec", format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(&path).map_err(|error| (broken(&error), true))?;
    serde_json::from_str(&text).map_err(|error| (broken(&error), false))
}

/// Writes a frame at once. A parent that no longer reads has gone: the thread that watches standard input ends the
/// process, so a failed write is left to it.
fn send(frame: Frame) {
    let line = serde_json::to_string(&frame).expect("a frame has string keys and no map of floats that JSON lacks");
    let mut stdout = io::stdout().lock();
    if let Err(error) = writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        tracing::warn!(%error, "a frame could not be written");
    }
}

/// Takes the parent's orders, and ends the process when the pipe from it closes, whatever libtorch is doing. Not by a
/// signal at the parent's death: that one comes when the thread ends that spawned us. By hand on a terminal nothing is
/// watched.
///
/// A terminal or a service manager signals the whole group of processes; what becomes of a training is the parent's to
/// say, so these signals are not heard here.
fn obey_parent(stop: StopRequest) {
    if !stdin_is_pipe() {
        return;
    }
    // SAFETY: to ignore a signal has no preconditions.
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_IGN);
        libc::signal(libc::SIGTERM, libc::SIG_IGN);
    }
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            match Order::of_line(&line) {
                Some(Order::SnapshotAndStop) => stop.make(),
                None => tracing::warn!(line, "an order that this program does not know"),
            }
        }
        // SAFETY: _exit has no preconditions. Not `exit`: handlers would run beside a busy libtorch.
        unsafe { libc::_exit(ORPHANED) }
    });
}

fn stdin_is_pipe() -> bool {
    // SAFETY: fstat writes into the zeroed struct that it is given; zeroes are a valid `stat`.
    let status = unsafe {
        let mut status: libc::stat = std::mem::zeroed();
        if libc::fstat(libc::STDIN_FILENO, &mut status) != 0 {
            return false;
        }
        status
    };
    status.st_mode & libc::S_IFMT == libc::S_IFIFO
}
