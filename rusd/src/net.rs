//! Listeners, and the threads that serve clients.
//!
//! Clients are served by a few threads, each with a `current_thread` runtime and listeners of its
//! own on the same addresses (`SO_REUSEPORT`): a request stays on one core, and nothing is stolen
//! or woken across cores. HTTP/1 and HTTP/2 share the port, secured or not as its URL says.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;

use crate::api::{Api, Routes};
use crate::config::Url;
use crate::metrics::Metrics;
use crate::tls::Acceptor;

mod authority;
mod listen;

use authority::WithAuthority;
pub use listen::Listen;

/// Threads that serve clients, at most; the other threads want cores too.
const API_THREADS_MAX: usize = 4;
/// Threads per api thread for what may block. More wait.
const BLOCKING_THREADS_MAX: usize = 16;
/// Connections that wait to be accepted. More are refused by the system.
const BACKLOG: i32 = 1024;
/// Pause after a failed accept: most often there are no file descriptors left.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// etcd's defaults for probing connections.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_hours(2);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// How much may be on its way to us: per stream, and per connection.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Streams that a client may give up before we saw them. The library's 20 would cut off a client
/// whose requests timed out together, as they do when a member was paused.
const RESET_STREAMS_MAX: usize = 64 * 1024;

/// An address that cannot be used, or a thread that cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}")]
pub struct NetError {
    what: String,
    #[source]
    source: io::Error,
}

impl NetError {
    fn when(what: impl Into<String>) -> impl FnOnce(io::Error) -> NetError {
        let what = what.into();
        move |source| NetError { what, source }
    }
}

/// Bound client addresses: the listeners of each thread.
#[derive(Debug)]
pub struct ClientListeners {
    threads: Vec<Vec<Listener>>,
}

/// A bound address, and how what comes there is secured.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    tls: Option<Acceptor>,
}

impl ClientListeners {
    /// The bound addresses.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let first = self.threads.first().into_iter().flatten();
        first.filter_map(|listener| listener.tcp.local_addr().ok()).collect()
    }
}

/// Binds the peer addresses; `tls` is for those of https.
pub fn bind_peers(urls: &[Url], tls: Option<&Acceptor>) -> Result<Vec<Listener>, NetError> {
    let bind = |url: &Url| {
        let tcp = listener(address(url), false).map_err(NetError::when(format!("listen on {url}")));
        Ok(Listener { tcp: tcp?, tls: acceptor(url, tls) })
    };
    urls.iter().map(bind).collect()
}

/// Binds the client addresses, once for each thread; `tls` is for those of https.
pub fn bind_clients(urls: &[Url], tls: Option<&Acceptor>) -> Result<ClientListeners, NetError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut threads: Vec<Vec<Listener>> = Vec::new();
    threads.resize_with(cores.min(API_THREADS_MAX), Vec::new);
    for url in urls {
        let mut bind = || {
            // Alone first: sharing the port with another process would go unnoticed.
            let alone = listener(address(url), false)?.local_addr()?;
            threads.iter_mut().try_for_each(|thread| {
                thread.push(Listener { tcp: listener(alone, true)?, tls: acceptor(url, tls) });
                io::Result::Ok(())
            })
        };
        bind().map_err(NetError::when(format!("listen on {url}")))?;
    }
    Ok(ClientListeners { threads })
}

fn acceptor(url: &Url, tls: Option<&Acceptor>) -> Option<Acceptor> {
    url.is_https().then(|| tls.expect("an https URL comes with a certificate").clone())
}

fn address(url: &Url) -> SocketAddr {
    let host = url.bind_host().expect("listen URLs were checked");
    SocketAddr::new(host, url.port())
}

fn listener(address: SocketAddr, is_shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if is_shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The threads that serve clients.
#[derive(Debug)]
pub struct ApiThreads {
    handles: Vec<JoinHandle<()>>,
    /// Nothing comes; closed when all threads are done.
    running: Receiver<Infallible>,
    abort: CancellationToken,
}

impl ApiThreads {
    /// Waits for the threads to finish, once stopped; after `grace` they give up what is open.
    pub fn join(self, grace: Duration) {
        match self.running.recv_timeout(grace) {
            Err(RecvTimeoutError::Disconnected) => {}
            Err(RecvTimeoutError::Timeout) => self.abort.cancel(),
            Ok(never) => match never {},
        }
        for handle in self.handles {
            if handle.join().is_err() {
                tracing::error!("a thread that served clients has panicked");
            }
        }
    }
}

/// How connections are served.
#[derive(Debug, Clone)]
pub struct Serving {
    /// Ends it.
    pub stop: CancellationToken,
    /// `--max-concurrent-streams`: requests that a client may have open on one connection.
    pub streams_max: u32,
}

/// Serves clients on threads of their own until they are to stop.
pub fn serve_clients(
    listeners: ClientListeners,
    api: &Api,
    metrics: Metrics,
    serving: &Serving,
) -> Result<ApiThreads, NetError> {
    let metrics = Arc::new(metrics);
    let routes = api.routes(&metrics, &serving.stop);
    let abort = CancellationToken::new();
    let (alive, running) = crossbeam_channel::bounded(0);
    let mut handles = Vec::new();
    for (number, listeners) in listeners.threads.into_iter().enumerate() {
        let thread = ApiThread {
            listeners,
            routes: routes.clone(),
            serving: serving.clone(),
            abort: abort.clone(),
            alive: alive.clone(),
        };
        let handle = thread.start(number).map_err(NetError::when("start a thread"))?;
        handles.push(handle);
    }
    Ok(ApiThreads { handles, running, abort })
}

struct ApiThread {
    listeners: Vec<Listener>,
    routes: Routes,
    serving: Serving,
    abort: CancellationToken,
    /// Dropped when the thread is done.
    alive: Sender<Infallible>,
}

impl ApiThread {
    fn start(self, number: usize) -> io::Result<JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .thread_name(format!("api-{number}-blocking"))
            .build()?;
        let run = move || {
            let serving = serve(self.listeners, self.routes, self.serving);
            if let Some(Err(error)) = runtime.block_on(self.abort.run_until_cancelled(serving)) {
                tracing::error!(%error, "clients cannot be served");
            }
            runtime.shutdown_background();
            // Said aloud: a closure takes only those fields that it names.
            drop(self.alive);
        };
        std::thread::Builder::new().name(format!("api-{number}")).spawn(run)
    }
}

/// Serves peers on `runtime` until `stop`.
pub fn serve_peers<S>(
    runtime: &Handle,
    listeners: Vec<Listener>,
    service: S,
    stop: &CancellationToken,
) -> io::Result<()>
where
    S: tower::Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    let serving = Serving { stop: stop.clone(), streams_max: u32::MAX };
    runtime.spawn(async move {
        let serving = serve(listeners, TowerToHyperService::new(service), serving);
        if let Err(error) = serving.await {
            tracing::error!(%error, "peers cannot be served");
        }
    });
    Ok(())
}

/// The same on one listener, which need not be of the system.
pub async fn serve_peers_on<S>(listener: impl Listen, service: S, stop: CancellationToken)
where
    S: tower::Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    let serving = Serving { stop, streams_max: u32::MAX };
    serve_on(listener, TowerToHyperService::new(service), serving).await;
}

/// Serves until `stop`, and then what is open to its end.
async fn serve<S>(listeners: Vec<Listener>, service: S, serving: Serving) -> io::Result<()>
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    let connections = TaskTracker::new();
    for listener in listeners {
        let tcp = tokio::net::TcpListener::from_std(listener.tcp)?;
        let accepting = Accepting {
            tls: listener.tls,
            service: service.clone(),
            connections: connections.clone(),
            serving: serving.clone(),
        };
        connections.spawn(accepting.run(tcp));
    }
    serving.stop.cancelled().await;
    connections.close();
    connections.wait().await;
    Ok(())
}

/// Serves what comes to one listener, which need not be of the system, until `serving` ends it, and
/// then what is open to its end.
pub async fn serve_on<S>(listener: impl Listen, service: S, serving: Serving)
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    let connections = TaskTracker::new();
    Accepting { tls: None, service, connections: connections.clone(), serving }.run(listener).await;
    connections.close();
    connections.wait().await;
}

/// What comes to one address.
struct Accepting<S> {
    tls: Option<Acceptor>,
    service: S,
    connections: TaskTracker,
    serving: Serving,
}

impl<S> Accepting<S>
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    async fn run(self, listener: impl Listen) {
        let stop = self.serving.stop.clone();
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, from)) => self.serve(stream, from),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    fn serve<T>(&self, stream: T, from: SocketAddr)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (service, serving) = (self.service.clone(), self.serving.clone());
        match self.tls.clone() {
            None => self.connections.spawn(serve_connection(stream, service, serving)),
            Some(tls) => self.connections.spawn(async move {
                let stop = serving.stop.clone();
                match stop.run_until_cancelled(tls.accept(stream, from)).await {
                    Some(Ok(stream)) => serve_connection(stream, service, serving).await,
                    Some(Err(error)) => tracing::warn!(%from, %error, "rejected connection"),
                    None => {}
                }
            }),
        };
    }
}

async fn serve_connection<T, S>(stream: T, service: S, serving: Serving)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: hyper::service::Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    let Serving { stop, streams_max } = serving;
    let builder = connection_builder(streams_max);
    let stream = TokioIo::new(WithAuthority::new(stream));
    let connection = builder.serve_connection(FlatIo(stream), service);
    let mut connection = std::pin::pin!(connection);
    let served = if let Some(served) = stop.run_until_cancelled(connection.as_mut()).await {
        served
    } else {
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    if let Err(error) = served {
        tracing::debug!(error, "a connection broke");
    }
}

fn connection_builder(streams_max: u32) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams_max)
        .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    builder
}

/// A connection that takes one buffer at a time: the library then copies small frames together
/// instead of handing the system long lists of tiny ones, which was 30 % cheaper for reads.
struct FlatIo<T>(TokioIo<WithAuthority<T>>);

impl<T: AsyncRead + Unpin> Read for FlatIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> Write for FlatIo<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        false
    }
}
