//! What carries a connection's bytes: TCP, secured or not.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tonic::codegen::http::Uri;

use crate::client::tls;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A connected socket.
#[derive(Debug)]
pub enum Socket {
    /// Plain.
    Plain(TcpStream),
    /// Secured.
    Secured(Box<TlsStream<TcpStream>>),
}

impl Socket {
    /// Connects to `http://host:port`, `https://host:port`, or `host:port`. The name is what the
    /// server is called by.
    pub async fn connect(endpoint: &str) -> io::Result<(Socket, String)> {
        let uri: Uri = tls::url(endpoint).parse().map_err(io::Error::other)?;
        let authority = uri.authority().map_or_else(String::new, ToString::to_string);
        let connecting = async {
            if uri.scheme_str() == Some("https") {
                return tls::secured(&uri).await.map(|stream| Socket::Secured(Box::new(stream)));
            }
            let host = tls::host(&uri);
            let stream = TcpStream::connect((host.as_str(), uri.port_u16().unwrap_or(80))).await?;
            stream.set_nodelay(true)?;
            Ok(Socket::Plain(stream))
        };
        let socket = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await??;
        Ok((socket, authority))
    }

    /// Whether others cannot read it.
    pub fn is_secured(&self) -> bool {
        matches!(self, Socket::Secured(_))
    }

    /// Reads into `buffer`; 0 bytes are the end.
    pub fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        let read = match self {
            Socket::Plain(stream) => Pin::new(stream).poll_read(context, &mut buffer),
            Socket::Secured(stream) => Pin::new(stream).poll_read(context, &mut buffer),
        };
        read.map_ok(|()| buffer.filled().len())
    }

    /// Writes some of `bytes`.
    pub fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Socket::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Socket::Secured(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    /// Writes what a secured socket still holds.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Socket::Plain(_) => Poll::Ready(Ok(())),
            Socket::Secured(stream) => Pin::new(stream).poll_flush(context),
        }
    }
}
