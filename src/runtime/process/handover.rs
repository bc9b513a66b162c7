//! Descriptors from the agent to a shim, over the socket that is also its lifeline.

use std::{
    io::{self, IoSlice, IoSliceMut},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};

/// Standard input, output and error of a command.
pub(crate) type Stdio = [OwnedFd; 3];

/// Sends what the command of a shim is to have.
pub(crate) fn send(socket: &UnixStream, stdio: &Stdio) -> io::Result<()> {
    let descriptors = stdio.each_ref().map(AsRawFd::as_raw_fd);
    let rights = [ControlMessage::ScmRights(&descriptors)];
    // Descriptors travel with bytes only.
    let byte = [IoSlice::new(&[0])];
    sendmsg::<UnixAddr>(socket.as_raw_fd(), &byte, &rights, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Receives them; waits for the agent, and fails where that has ended.
pub(crate) fn receive(socket: RawFd) -> io::Result<Stdio> {
    let mut space = nix::cmsg_space!([RawFd; 3]);
    let mut byte = [0];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<UnixAddr>(socket, &mut bytes, Some(&mut space), flags)?;
    let mut received = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = control {
            // SAFETY: the kernel has just made these descriptors for us; nobody else owns them.
            received.extend(descriptors.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    received.try_into().map_err(|_other_count| io::ErrorKind::UnexpectedEof.into())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write, pipe};

    use super::*;

    #[test]
    fn descriptors_arrive_and_an_agent_that_ended_is_noticed() {
        let (agent, shim) = UnixStream::pair().unwrap();
        let (mut read, write) = pipe().unwrap();
        let spare = || OwnedFd::from(pipe().unwrap().0);
        send(&agent, &[spare(), write.into(), spare()]).unwrap();
        let [_, received, _] = receive(shim.as_raw_fd()).unwrap();
        std::fs::File::from(received).write_all(b"through").unwrap();
        let mut found = String::new();
        read.read_to_string(&mut found).unwrap();
        assert_eq!(found, "through");
        drop(agent);
        assert!(receive(shim.as_raw_fd()).is_err());
    }
}
