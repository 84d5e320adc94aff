//! The `rusd` program: an etcd v3 server.

use std::process::ExitCode;

use rusd::config::{self, Config, Invocation};
use rusd::logging;
use rusd::server::Server;
use rusd::verify::verify;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let outcome = match config::parse(std::env::args_os()) {
        Ok(Ok(Invocation::Serve(config))) => serve(&config),
        Ok(Ok(Invocation::Verify { data_dir })) => verify_and_print(&data_dir),
        Ok(Err(error)) => Err(error.into()),
        Err(text) => text.exit(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rusd: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until SIGTERM or SIGINT, or until a part of the member fails.
fn serve(config: &Config) -> anyhow::Result<()> {
    logging::start(config.log_level, config.log_format);
    let server = Server::start(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stopped = server.stopped();
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => tracing::info!(signal = "terminated", "received signal; shutting down"),
            _ = interrupt.recv() => tracing::info!(signal = "interrupt", "received signal; shutting down"),
            () = stopped.cancelled() => tracing::error!("a part of the member failed; shutting down"),
        }
        anyhow::Ok(())
    })?;
    server.stop()?;
    Ok(())
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
