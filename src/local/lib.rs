//! Row 6: the door on the host itself, `DATA_DIR/agent.sock`, open to the agent's own user only. Git's hooks come in
//! here, and the operator's `autostack admin`.
//!
//! In reading order:
//!
//! | module | holds |
//! |---|---|
//! | [`protocol`] | what may be said: one message a connection, one line of JSON each way (hooks: many lines back) |
//! | [`server`] | the agent's side: who may speak, and for how long |
//! | `hook` | a hook's message: lines for the pusher, then the verdict |
//! | `admin` | the operator's messages |
//! | [`client`] | the other side, for `autostack hook` and `autostack admin`; without an async runtime, so that it starts fast |

mod admin;
pub mod client;
mod hook;
pub mod protocol;
pub mod server;
