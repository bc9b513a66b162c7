//! What a long operation says while it runs.

/// Who listens to a long operation: called in order, from one task at a time, and must not block for long.
pub type Say<'a> = dyn Fn(Output<'_>) + Send + Sync + 'a;

/// One piece of what an operation says. Text comes from the engine or from a program in a build: it is shown
/// escaped, never trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output<'a> {
    /// A new step, one line without an end of line: `Pulling docker.io/library/node:24`.
    Step(&'a str),
    /// A line that belongs to the step before it.
    Detail(&'a str),
    /// Bytes of a program's output as they came, cut anywhere, whatever their encoding.
    Raw(&'a [u8]),
}
