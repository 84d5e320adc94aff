//! Calls of any RPC, with messages that are known by their descriptors only.

use prost::Message;
use prost::bytes::Buf;
use prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Status};

/// Requests of one stream that wait to be sent. Full: the script waits.
const REQUESTS_QUEUED_MAX: usize = 64;
/// Messages of one stream that the script has not asked for yet. Full: the stream waits, and so,
/// in the end, does the server.
const MESSAGES_QUEUED_MAX: usize = 1024;

/// How the text begins when a call could not be sent.
pub(super) const NO_CONNECTION: &str = "no connection";

/// Metadata that goes with a call.
pub type Metadata = Vec<(String, String)>;

/// Calls with one request and one answer.
pub async fn unary(
    channel: &Channel,
    method: &MethodDescriptor,
    metadata: &Metadata,
    request: DynamicMessage,
) -> Result<DynamicMessage, Status> {
    let mut client = client(channel);
    ready(&mut client).await?;
    let request = with_metadata(request, metadata)?;
    Ok(client.unary(request, path(method), DynamicCodec::of(method)).await?.into_inner())
}

/// An open call: what we still may send, and what comes back. Dropped, it is cancelled.
#[derive(Debug)]
pub struct OpenCall {
    requests: Option<mpsc::Sender<DynamicMessage>>,
    answers: mpsc::Receiver<Result<DynamicMessage, Status>>,
    task: JoinHandle<()>,
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl OpenCall {
    /// Opens a call. With `request`, that is sent at once; and if the RPC takes only one, no more
    /// can be sent.
    pub fn open(
        channel: &Channel,
        method: &MethodDescriptor,
        metadata: &Metadata,
        request: Option<DynamicMessage>,
    ) -> Result<OpenCall, Status> {
        let (requests, queued) = mpsc::channel(REQUESTS_QUEUED_MAX);
        if let Some(request) = request {
            requests.try_send(request).expect("an empty queue has room");
        }
        let (messages, answers) = mpsc::channel(MESSAGES_QUEUED_MAX);
        let sent = with_metadata(ReceiverStream::new(queued), metadata)?;
        let (channel, method) = (channel.clone(), method.clone());
        let requests = method.is_client_streaming().then_some(requests);
        // etcd sends a stream's headers with its first message, so opening must not be waited for.
        let task = tokio::spawn(async move {
            if let Err(status) = forward(channel, method, sent, &messages).await {
                // Whoever no longer listens has cancelled the call.
                drop(messages.send(Err(status)).await);
            }
        });
        Ok(OpenCall { requests, answers, task })
    }

    /// Sends a further request; `false` if the stream takes no more.
    pub async fn send(&self, request: DynamicMessage) -> bool {
        match &self.requests {
            Some(requests) => requests.send(request).await.is_ok(),
            None => false,
        }
    }

    /// Says that no more requests come.
    pub fn half_close(&mut self) {
        self.requests = None;
    }

    /// The next message, the error that ended the call, or `None` after its end. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<DynamicMessage, Status>> {
        self.answers.recv().await
    }
}

async fn forward(
    channel: Channel,
    method: MethodDescriptor,
    requests: Request<ReceiverStream<DynamicMessage>>,
    messages: &mpsc::Sender<Result<DynamicMessage, Status>>,
) -> Result<(), Status> {
    let mut client = client(&channel);
    ready(&mut client).await?;
    let called = client.streaming(requests, path(&method), DynamicCodec::of(&method)).await?;
    let mut answers = called.into_inner();
    while let Some(message) = answers.message().await? {
        if messages.send(Ok(message)).await.is_err() {
            break;
        }
    }
    Ok(())
}

fn client(channel: &Channel) -> Grpc<Channel> {
    Grpc::new(channel.clone()).max_decoding_message_size(usize::MAX)
}

async fn ready(client: &mut Grpc<Channel>) -> Result<(), Status> {
    client.ready().await.map_err(|error| Status::unavailable(format!("{NO_CONNECTION}: {error}")))
}

fn path(method: &MethodDescriptor) -> PathAndQuery {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    PathAndQuery::try_from(path).expect("names of services and methods are plain")
}

fn with_metadata<T>(message: T, metadata: &Metadata) -> Result<Request<T>, Status> {
    let mut request = Request::new(message);
    let map: &mut MetadataMap = request.metadata_mut();
    for (key, value) in metadata {
        let unusable = || Status::internal(format!("unusable metadata {key}={value}"));
        let key = key.parse::<tonic::metadata::MetadataKey<tonic::metadata::Ascii>>();
        let value = MetadataValue::try_from(value.as_str());
        let (Ok(key), Ok(value)) = (key, value) else { return Err(unusable()) };
        map.append(key, value);
    }
    Ok(request)
}

/// Writes any message, reads messages of one type.
struct DynamicCodec {
    output: MessageDescriptor,
}

impl DynamicCodec {
    fn of(method: &MethodDescriptor) -> DynamicCodec {
        DynamicCodec { output: method.output() }
    }
}

impl Codec for DynamicCodec {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = DynamicEncoder;
    type Decoder = DynamicDecoder;

    fn encoder(&mut self) -> DynamicEncoder {
        DynamicEncoder
    }

    fn decoder(&mut self) -> DynamicDecoder {
        DynamicDecoder { output: self.output.clone() }
    }
}

struct DynamicEncoder;

impl Encoder for DynamicEncoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, item: DynamicMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

struct DynamicDecoder {
    output: MessageDescriptor,
}

impl Decoder for DynamicDecoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        // The limit is the message's end; a `&mut` buffer makes the reading generic over it.
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        DynamicMessage::decode(self.output.clone(), bytes)
            .map(Some)
            .map_err(|error| Status::internal(format!("unreadable answer: {error}")))
    }
}
