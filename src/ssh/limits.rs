//! Every bound of this door, with its unit; tests scale them down.

use std::time::Duration;

/// Connections in any state at once; a further one is closed before a byte is exchanged.
const CONNECTIONS_MAX: usize = 1_024;

/// The bounds of one server.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections in any state at once.
    pub connections_max: usize,
    /// Connections at once of which nothing was heard yet; of more, the oldest is closed.
    pub arriving_max: usize,
    /// The same for one address (an IPv6 network of 64 bits counts as one).
    pub arriving_per_address_max: usize,
    /// How long nothing may be heard of one before it counts as silent.
    pub first_words: Duration,
    /// Connections at once that have begun to speak and wait until they are served.
    pub waiting_max: usize,
    /// Connections at once that are served and have not proved who they are.
    pub unauthenticated_max: usize,
    /// The same for one address.
    pub unauthenticated_per_address_max: usize,
    /// From the accepted connection to the accepted key.
    pub login_grace: Duration,
    /// Keys that one connection may offer in vain.
    pub keys_refused_max: usize,
    /// Sessions that one connection may have open at once.
    pub sessions_per_connection_max: usize,
    /// Bytes of a command line.
    pub command_bytes_max: usize,
    /// Bytes that a client sent and the command has not read yet. Beyond it the connection waits.
    pub input_bytes_max: usize,
    /// How long a command may leave its full input untouched before it is ended.
    pub input_stall: Duration,
    /// How long a client may leave its full window closed before its command is ended: long enough for
    /// somebody who reads `logs -t` in a pager.
    pub output_stall: Duration,
    /// How long a client may take nothing from its TCP connection.
    pub socket_stall: Duration,
    /// Silence after which the client is asked whether it is still there.
    pub keepalive_interval: Duration,
    /// Questions in a row that may stay unanswered.
    pub keepalives_unanswered_max: usize,
    /// Silence on both sides after which a connection ends, whatever the answers.
    pub inactivity: Duration,
    /// What a connection that is being shut down gets to finish its sessions.
    pub stop_budget: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            arriving_max: 256,
            arriving_per_address_max: 64,
            first_words: Duration::from_secs(1),
            waiting_max: 256,
            unauthenticated_max: 64,
            unauthenticated_per_address_max: 8,
            login_grace: Duration::from_secs(15),
            keys_refused_max: 6,
            sessions_per_connection_max: 10,
            // A value of 64 KiB in base64, and more than one argument can be on Linux (`MAX_ARG_STRLEN`).
            command_bytes_max: 160 * 1024,
            input_bytes_max: 2 * 1024 * 1024,
            input_stall: Duration::from_secs(120),
            output_stall: Duration::from_secs(600),
            socket_stall: Duration::from_secs(60),
            keepalive_interval: Duration::from_secs(15),
            keepalives_unanswered_max: 4,
            inactivity: Duration::from_secs(3_600),
            stop_budget: Duration::from_secs(20),
        }
    }
}
