//! When a request is sent again.

use lateen_model::retry::{Retries, RetryOn};

use super::message;
use super::number::{
    optional_duration, positive_duration, status, wire_duration, wire_optional_duration,
};
use super::wire::{Fault, Wire, read_list, wire_enum};

wire_enum!(
    condition_to_wire,
    condition,
    RetryOn {
        ServerError = 1,
        GatewayError = 2,
        Reset = 3,
        ResetBeforeRequest = 4,
        ConnectFailure = 5,
        EnvoyRatelimited = 6,
        Retriable4xx = 7,
        RefusedStream = 8,
        RetriableStatusCodes = 9,
        RetriableHeaders = 10,
        Http3PostConnectFailure = 11,
        Cancelled = 12,
        DeadlineExceeded = 13,
        Internal = 14,
        ResourceExhausted = 15,
        Unavailable = 16,
    }
);

impl Wire for Retries {
    type Message = message::Retries;

    fn to_wire(&self) -> message::Retries {
        let conditions = self.conditions.iter().copied().map(condition_to_wire);
        message::Retries {
            attempts: self.attempts,
            per_try_timeout: wire_optional_duration(self.per_try_timeout),
            conditions: conditions.collect(),
            status_codes: self.status_codes.iter().copied().map(u32::from).collect(),
            backoff: wire_duration(self.backoff),
            ignores_previous_hosts: self.ignores_previous_hosts,
            remote_localities: self.remote_localities,
        }
    }

    fn from_wire(wire: message::Retries) -> Result<Self, Fault> {
        Ok(Self {
            attempts: wire.attempts,
            per_try_timeout: optional_duration(wire.per_try_timeout),
            conditions: read_list(wire.conditions, "conditions", |value| {
                condition(value, "condition")
            })?,
            status_codes: read_list(wire.status_codes, "status_codes", |number| {
                status(number, "status")
            })?,
            backoff: positive_duration(wire.backoff, "backoff")?,
            ignores_previous_hosts: wire.ignores_previous_hosts,
            remote_localities: wire.remote_localities,
        })
    }
}
