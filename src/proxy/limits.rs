//! Every bound of the proxy, with its unit.

use std::time::Duration;

/// Header fields that a request or an answer may have.
pub(crate) const HEADERS_MAX: usize = 100;
/// Bytes of a request's head, and of hyper's buffer of one connection.
pub(crate) const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes of one chunk-size line, extensions included.
pub(crate) const CHUNK_LINE_BYTES_MAX: usize = 256;
/// Bytes of all trailer lines of one request.
pub(crate) const TRAILER_BYTES_MAX: usize = 8 * 1024;
/// Bytes that an upgraded connection may hold in each direction while the other side is slow.
pub(crate) const TUNNEL_BUFFER_BYTES: usize = 8 * 1024;
/// Bytes of a file that are read at once.
pub(crate) const FILE_CHUNK_BYTES: usize = 64 * 1024;
/// Bytes that are read and thrown away after an answer that came before the request's end, so that the
/// client reads the answer instead of a reset.
pub(crate) const LINGER_BYTES_MAX: usize = 1024 * 1024;
/// Requests that came back unsent from kept connections before a new connection is opened.
pub(crate) const UNSENT_MAX: usize = 3;

/// Bytes of an event, JSON and all, that a function is invoked with: Lambda's own limit, 6 MiB. A body that is
/// not text counts as it is sent, in base64: 4 for each 3 that the visitor sent.
pub(crate) const EVENT_BYTES_MAX: usize = 6 * 1024 * 1024;
/// Bytes that a function may answer, JSON and all: Lambda's own limit, 6 MiB and 100.
pub(crate) const RESULT_BYTES_MAX: usize = 6 * 1024 * 1024 + 100;
/// Bytes of bodies that are held in memory at once for functions, which get and give them whole.
pub(crate) const FUNCTION_MEMORY_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How long an instance of a function is taken for at work on one event: Lambda's longest, 15 minutes, and
/// what the emulator needs to end it.
pub(crate) const INVOCATION_TIME_MAX: Duration = Duration::from_secs(900 + 15);

/// Finished requests that wait to be noted in the access log; further ones are counted and not noted.
pub(crate) const ACCESS_QUEUE_MAX: usize = 8_192;
/// Requests that are noted at once.
pub(crate) const ACCESS_BATCH_MAX: usize = 2_048;
/// Pause between two writes of the access log, so that each has many lines.
pub(crate) const ACCESS_PAUSE: Duration = Duration::from_millis(100);
/// Access logs that are kept ready to be written to.
pub(crate) const ACCESS_STREAMS_MAX: usize = 256;
/// Characters of a path or of another text from a client in a line of the access log.
pub(crate) const ACCESS_PATH_CHARS_MAX: usize = 4_096;

/// Certificates of one chain.
pub(crate) const CHAIN_CERTIFICATES_MAX: usize = 10;
/// Days that a certificate made here is valid.
pub(crate) const GENERATED_DAYS: u32 = 365;

/// Bytes of an `Authorization` field that is looked at.
pub(crate) const AUTHORIZATION_BYTES_MAX: usize = 4 * 1024;
/// Passwords that are verified at the same time: each takes 19 MiB and some 30 ms of a core.
pub(crate) const VERIFICATIONS_MAX: usize = 2;
/// How long a request waits for its turn to have its password verified.
pub(crate) const VERIFICATION_WAIT: Duration = Duration::from_secs(5);
/// Verified passwords that are remembered.
pub(crate) const VERIFIED_MAX: usize = 4_096;
/// How long a verified password is remembered.
pub(crate) const VERIFIED_AGE_MAX: Duration = Duration::from_secs(3_600);
/// Wrong passwords that one address may send for one app within [`ATTEMPTS_PERIOD`].
pub(crate) const ATTEMPTS_MAX: u32 = 10;
/// Time over which wrong passwords are counted.
pub(crate) const ATTEMPTS_PERIOD: Duration = Duration::from_secs(60);
/// Addresses whose wrong passwords are counted at the same time.
pub(crate) const ATTEMPTERS_MAX: usize = 10_000;

/// What the proxy allows. `ProxyLimits::default()` fits one host with 20,000 file descriptors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyLimits {
    /// Client connections open at once; further ones wait in the kernel's queue.
    pub connections_max: usize,
    /// From the first byte of a head (or from the accept) to its end.
    pub head_timeout: Duration,
    /// Between two requests of a kept-alive client.
    pub idle_timeout: Duration,
    /// Between two reads of a request's body.
    pub body_timeout: Duration,
    /// During which a client that does not read its answer is waited for.
    pub write_timeout: Duration,
    /// To open a connection to an instance.
    pub connect_timeout: Duration,
    /// From the last byte of the request to the head of the app's answer.
    pub answer_timeout: Duration,
    /// Visitors who wait for one function, each instance of which works on one request at a time; further ones
    /// are asked to come again.
    pub function_waiting_max: usize,
    /// How long a visitor waits until an instance of a function is free.
    pub function_wait_timeout: Duration,
    /// Between two reads of an answer's body, and without a byte in either direction after an upgrade.
    pub stream_idle_timeout: Duration,
    /// How long an unused connection to an instance is kept. Below the 5 s after which Node.js and uvicorn
    /// close theirs, so that a request rarely meets a connection that is just being closed.
    pub pool_idle_timeout: Duration,
    /// How fresh a kept connection must be to carry a request that cannot be repeated.
    pub pool_unrepeatable_age_max: Duration,
    /// Unused connections kept for one instance.
    pub pool_idle_max: usize,
    /// How long a stopping server lets requests in flight go on.
    pub stop_timeout: Duration,
    /// How long what is left of a request is thrown away after an early answer.
    pub linger_timeout: Duration,
}

impl Default for ProxyLimits {
    fn default() -> Self {
        Self {
            connections_max: 8_192,
            head_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(120),
            function_waiting_max: 256,
            function_wait_timeout: Duration::from_secs(30),
            stream_idle_timeout: Duration::from_secs(3_600),
            pool_idle_timeout: Duration::from_secs(4),
            pool_unrepeatable_age_max: Duration::from_millis(500),
            pool_idle_max: 128,
            stop_timeout: Duration::from_secs(30),
            linger_timeout: Duration::from_secs(2),
        }
    }
}
