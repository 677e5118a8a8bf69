//! The limit of open connections.
//!
//! A connection past the limit is taken all the same, as long as there is some spare: its first request is answered with
//! the reason, and the connection closed. Past that spare the operating system lets clients wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Extensions, ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError};

use super::stall;
use crate::error::{Problem, ProblemKind};

/// Counts the open connections; shared by all threads of the server.
#[derive(Debug, Clone)]
pub struct Connections {
    open: Arc<AtomicUsize>,
    max: usize,
}

/// The place of one connection; given back on drop.
struct Place {
    connections: Connections,
    /// How many were open with it, if that is too many.
    over: Option<usize>,
}

impl Connections {
    /// Allows `max` of them.
    pub fn new(max: usize) -> Connections {
        Connections { open: Arc::default(), max }
    }

    /// How many are to be accepted: beyond the limit as many as can be told so.
    pub fn accepted_max(&self) -> usize {
        self.max.saturating_add(Connections::spare(self.max))
    }

    /// How many connections past a limit of `max` are accepted to be refused.
    pub fn spare(max: usize) -> usize {
        (max / 8).clamp(16, 256)
    }

    /// Counts a new connection until it ends; for `HttpServer::on_connect`.
    pub fn enter(&self, connection: &mut Extensions) {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        let over = (open > self.max).then_some(open);
        connection.insert(Place { connections: self.clone(), over });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Answers what comes on a connection past the limit with 503, and closes it. That the process lives is still told.
///
/// # Errors
/// Those of the service behind it.
pub async fn refuse_past_limit<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    stall::release(&request);
    let over = request.conn_data::<Place>().and_then(|place| Some((place.over?, place.connections.max)));
    let Some((open, max)) = over.filter(|_| request.path() != "/health") else {
        return Ok(next.call(request).await?.map_into_left_body());
    };
    let detail = format!("limits.connections is reached: {open} of {max} connections are open");
    let mut response = Problem::new(ProblemKind::Unavailable, detail).error_response();
    response.head_mut().set_connection_type(actix_web::http::ConnectionType::Close);
    Ok(request.into_response(response).map_into_right_body())
}
