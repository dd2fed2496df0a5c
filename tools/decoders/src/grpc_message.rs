//! What a client sends to the logger's gRPC port, in the frames of HTTP/2.

use futures_util::{FutureExt, stream};
use http_body_util::Full;
use proto::{
    EntryDraft, TailQuery,
    grpc::{
        BatchRequest, BatchResponse, LogRequest, LogResponse, SyncResponse, TailRequest, TailResponse,
        WriteLogsResponse, failure,
        log_service_server::{LogService, LogServiceServer},
        status,
    },
    limits::{BATCH_ENTRIES, FRAME_BYTES},
};
use tonic::{
    Request, Response, Status, Streaming,
    codegen::{BoxStream, Bytes, Service, http},
};

use crate::entry::{check_draft, check_refusal};

/// Most entries that get past the decoder: those that a batch may have, and room for other fields.
const DECODED_ENTRIES: usize = BATCH_ENTRIES + 16;

/// The calls, by the first byte.
const METHODS: [&str; 5] = ["WriteLog", "WriteBatch", "WriteLogs", "SyncLogs", "TailLogs"];

/// The first byte says which call it is; the rest is any bytes as the message.
///
/// # Panics
/// If more entries get past the decoder than a batch may have, an accepted entry or tail is out of its limits or does
/// not stay the same on its way; or if a refusal is not one.
pub fn grpc_message(bytes: &[u8]) {
    let Some((method, message)) = bytes.split_first() else { return };
    let path = format!("/logs.LogService/{}", METHODS[usize::from(*method) % METHODS.len()]);
    let len = u32::try_from(message.len()).expect("libFuzzer's inputs are small");
    let frame = [&[0][..], &len.to_be_bytes(), message].concat();
    let request = http::Request::post(path).body(Full::new(Bytes::from(frame))).expect("a request");
    let mut service = LogServiceServer::new(Checker).max_decoding_message_size(FRAME_BYTES);
    let answer = service.call(request).now_or_never().expect("nothing to wait for");
    let answer = answer.expect("a service answers");
    if let Some(refusal) = Status::from_header_map(answer.headers()).as_ref().and_then(failure) {
        check_refusal(&refusal);
    }
}

/// Takes the place of the logger behind the generated service and its decoder.
struct Checker;

#[tonic::async_trait]
impl LogService for Checker {
    async fn write_log(&self, request: Request<LogRequest>) -> Result<Response<LogResponse>, Status> {
        request.into_inner().log_entry.map(EntryDraft::from).into_iter().for_each(check_draft);
        Ok(Response::new(LogResponse::default()))
    }

    async fn write_batch(&self, request: Request<BatchRequest>) -> Result<Response<BatchResponse>, Status> {
        let entries = request.into_inner().log_entries;
        assert!(entries.len() <= DECODED_ENTRIES, "{} entries were decoded", entries.len());
        entries.into_iter().map(EntryDraft::from).for_each(check_draft);
        Ok(Response::new(BatchResponse::default()))
    }

    async fn write_logs(
        &self,
        request: Request<Streaming<LogRequest>>,
    ) -> Result<Response<WriteLogsResponse>, Status> {
        let mut requests = request.into_inner();
        while let Some(request) = requests.message().await? {
            request.log_entry.map(EntryDraft::from).into_iter().for_each(check_draft);
        }
        Ok(Response::new(WriteLogsResponse::default()))
    }

    async fn tail_logs(
        &self,
        request: Request<TailRequest>,
    ) -> Result<Response<BoxStream<TailResponse>>, Status> {
        let query = TailQuery::try_from(request.into_inner()).map_err(|failure| status(&failure))?;
        // As the broker asks the logger on behalf of its own caller.
        assert_eq!(TailQuery::try_from(TailRequest::from(&query)), Ok(query));
        Ok(Response::new(Box::pin(stream::empty())))
    }

    async fn sync_logs(
        &self,
        request: Request<Streaming<LogRequest>>,
    ) -> Result<Response<BoxStream<SyncResponse>>, Status> {
        self.write_logs(request).await?;
        Ok(Response::new(Box::pin(stream::empty())))
    }
}
