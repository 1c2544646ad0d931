//! A client of gRPC's standard health service, for probes of that kind.

use std::net::SocketAddr;

use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use tonic::client::Grpc;
use tonic::transport::Endpoint;
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::fetch;

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: i32 = 1;

/// Answers whether a service says that it serves.
pub(super) async fn check(to: SocketAddr, service: String) -> Result<bool, String> {
    let connect = service_fn(move |_| async move { fetch::connect(to).await.map(TokioIo::new) });
    let endpoint = Endpoint::from_shared(format!("http://{to}")).map_err(|it| it.to_string())?;
    let channel = Box::pin(endpoint.connect_with_connector(connect))
        .await
        .map_err(|error| format!("cannot connect: {error}"))?;
    let mut client = Grpc::new(channel);
    client
        .ready()
        .await
        .map_err(|error| format!("cannot connect: {error}"))?;
    let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let request = tonic::Request::new(HealthCheckRequest { service });
    let codec = ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
    match client.unary(request, path, codec).await {
        Ok(response) => Ok(response.into_inner().status == SERVING),
        Err(status) => Err(format!("{:?}: {}", status.code(), status.message())),
    }
}
