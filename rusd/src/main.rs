//! The `rusd` program: an etcd v3 server.

use std::io::Write;
use std::process::ExitCode;

use rusd::config::{self, Config, Invocation};
use rusd::logging;
use rusd::server::{Server, ServerError};
use rusd::snapshot::{RestoreOptions, StatusFormat, restore, status};
use rusd::verify::verify;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    if let Err(error) = rusd_failpoint::start() {
        drop(writeln!(std::io::stderr(), "rusd: {error}"));
        return ExitCode::FAILURE;
    }
    let outcome = match config::parse(std::env::args_os()) {
        Ok(Ok(Invocation::Serve(config))) => serve(&config),
        Ok(Ok(Invocation::Verify { data_dir })) => verify_and_print(&data_dir),
        Ok(Ok(Invocation::SnapshotStatus { file, format })) => print_status(&file, format),
        Ok(Ok(Invocation::SnapshotRestore(options))) => restore_and_print(&options),
        Ok(Err(error)) => Err(error.into()),
        Err(text) => text.exit(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may be listening any more.
            drop(writeln!(std::io::stderr(), "rusd: {}", describe(&error)));
            ExitCode::FAILURE
        }
    }
}

/// Serves until SIGTERM or SIGINT, or until a part of the member fails.
fn serve(config: &Config) -> anyhow::Result<()> {
    logging::start(config.log_level, config.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("signals")
        .enable_all()
        .build()?;
    let stop = CancellationToken::new();
    runtime.block_on(async { spawn_signal_handler(stop.clone()) })?;
    while serve_once(config, &runtime, &stop)? {
        tracing::info!("starting again from a snapshot");
    }
    Ok(())
}

/// True if the member must start again.
fn serve_once(
    config: &Config,
    runtime: &tokio::runtime::Runtime,
    stop: &CancellationToken,
) -> anyhow::Result<bool> {
    let server = match Server::start(config, stop) {
        Err(ServerError::Restarting) => return Ok(true),
        // As in etcd, a member that was removed has nothing to complain about.
        Err(ServerError::StoppedEarly | ServerError::Removed) => return Ok(false),
        started => started?,
    };
    let failed = server.stopped();
    runtime.block_on(async {
        tokio::select! {
            () = stop.cancelled() => {}
            () = failed.cancelled() => {
                if !server.is_removed() && !server.is_restarting() {
                    tracing::error!("a part of the member failed; shutting down");
                }
            }
        }
    });
    let is_restarting = server.is_restarting();
    server.stop()?;
    Ok(is_restarting)
}

/// Cancels `stop` on the first SIGTERM or SIGINT.
fn spawn_signal_handler(stop: CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        let signal = tokio::select! {
            _ = terminate.recv() => "terminated",
            _ = interrupt.recv() => "interrupt",
        };
        tracing::info!(signal, "received signal; shutting down");
        stop.cancel();
    });
    Ok(())
}

/// An error with its causes, each told once.
fn describe(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[expect(clippy::print_stdout, reason = "the answer of a command")]
fn verify_and_print(data_dir: &std::path::Path) -> anyhow::Result<()> {
    let found = verify(data_dir)?;
    println!(
        "ok: {} log records up to index {}, engine applied {}, revision {}, hash {}",
        found.log_records, found.last_index, found.engine_applied, found.revision, found.hash
    );
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the answer of a command")]
fn print_status(file: &std::path::Path, format: StatusFormat) -> anyhow::Result<()> {
    println!("{}", status(file)?.text(format));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the answer of a command")]
fn restore_and_print(options: &RestoreOptions) -> anyhow::Result<()> {
    let restored = restore(options)?;
    println!("restored {} at revision {}", options.data_dir.display(), restored.revision);
    Ok(())
}
