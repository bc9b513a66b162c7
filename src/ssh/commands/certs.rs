//! Certificates of apps: `certs:*`. Dokku's two ways to bring one: a tar archive with `server.crt` and `server.key` on
//! standard input, or both files in one piece.

use std::io::Read;

use autostack_domain::{
    AppName, CertificatePem, UnixMillis, limits,
    permission::{Action, Actor},
};
use autostack_platform::{CertificateView, Platform};

use crate::commands::{
    command::{Command, FORMAT, Needs, Words},
    invocation::Invocation,
    refusal::Refusal,
    report::Report,
};

pub(crate) const COMMANDS: &[&Command] = &[&ADD, &UPDATE, &GENERATE, &REMOVE, &SHOW, &REPORT];

/// Bytes of an archive: its files, their heads, and the blocks to which tar fills it up.
const ARCHIVE_BYTES_MAX: usize = limits::CERTIFICATE_BYTES_MAX + 64 * 1024;
/// Files of an archive.
const ARCHIVE_FILES_MAX: usize = 16;

const ADD: Command = Command {
    name: "certs:add",
    arguments: "APP < CHAIN_AND_KEY",
    summary: "bring the certificate of an app",
    details: &[
        "cat server.crt server.key | ssh HOST certs:add APP",
        "tar c server.crt server.key | ssh HOST certs:add APP",
        "The app's own certificate comes first, then each issuer. Nothing changes unless all of it fits.",
    ],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(add(invocation, false)),
};

const UPDATE: Command = Command {
    name: "certs:update",
    summary: "bring another certificate for an app that has one",
    run: |invocation| Box::pin(add(invocation, true)),
    ..ADD
};

const GENERATE: Command = Command {
    name: "certs:generate",
    arguments: "APP [DOMAIN]",
    summary: "make a certificate that only you vouch for, for tests",
    details: &[],
    run: |invocation| Box::pin(generate(invocation)),
    ..ADD
};

const REMOVE: Command = Command {
    name: "certs:remove",
    arguments: "APP",
    summary: "forget the certificate of an app, and its key",
    details: &[],
    run: |invocation| Box::pin(remove(invocation)),
    ..ADD
};

const SHOW: Command = Command {
    name: "certs:show",
    arguments: "APP crt|key",
    summary: "show the certificate chain of an app, or its key",
    details: &[],
    run: |invocation| Box::pin(show(invocation)),
    ..ADD
};

const REPORT: Command = Command {
    name: "certs:report",
    arguments: "[APP]",
    summary: "show for which hosts apps have certificates, and until when",
    details: &[],
    options: &[FORMAT],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(report(invocation)),
};

async fn add(mut invocation: Invocation, replaces: bool) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let files = invocation.rest();
    invocation.end()?;
    if !files.is_empty() {
        return Err(invocation.usage("Files of yours are not on this host: send them on standard input."));
    }
    // Who may not know the app learns nothing, and sends nothing for nobody.
    let what = "change the certificate of";
    invocation.platform.check_right(&invocation.actor, &app, Action::Operate, what).await?;
    let sent = sent(&mut invocation).await?;
    let pem = CertificatePem::sort(&text_of(&sent)?)?;
    let view = invocation.platform.set_certificate(&invocation.actor, &app, pem, replaces).await?;
    told(&invocation, &app, &view).await
}

/// All that the client sends.
async fn sent(invocation: &mut Invocation) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    while let Some(chunk) = invocation.input.next().await {
        bytes.extend_from_slice(chunk.as_ref());
        if bytes.len() > ARCHIVE_BYTES_MAX {
            let most = limits::CERTIFICATE_BYTES_MAX >> 10;
            return Err(Refusal::failed(format!("A certificate chain and its key have {most} KiB at most.")));
        }
    }
    Ok(bytes)
}

/// The PEM in what was sent: as it is, or in the files of a tar archive.
fn text_of(sent: &[u8]) -> Result<String, Refusal> {
    let is_archive = sent.get(257..262) == Some(b"ustar");
    if !is_archive {
        return String::from_utf8(sent.to_vec())
            .map_err(|_| Refusal::failed("What was sent is neither PEM nor a tar archive."));
    }
    let broken = |error: std::io::Error| Refusal::failed(format!("The tar archive cannot be read: {error}."));
    let mut text = String::new();
    let mut archive = tar::Archive::new(sent);
    for entry in archive.entries().map_err(broken)?.take(ARCHIVE_FILES_MAX) {
        let entry = entry.map_err(broken)?;
        if entry.header().entry_type().is_file() {
            // Read from memory that is bounded already; nothing is unpacked.
            let mut file = String::new();
            entry.take(ARCHIVE_BYTES_MAX as u64).read_to_string(&mut file).map_err(broken)?;
            text.push_str(&file);
            text.push('\n');
        }
    }
    Ok(text)
}

async fn told(invocation: &Invocation, app: &AppName, view: &CertificateView) -> Result<(), Refusal> {
    let until = moment(view.facts.expires_at);
    invocation.done(format!("Certificate of {app} kept; it is valid until {until}")).await?;
    if !view.not_covered.is_empty() {
        invocation.detail(format!("It is not for {}", view.not_covered.join(" "))).await?;
    }
    Ok(())
}

async fn generate(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let host = invocation.arguments.next().map(|host| host.parse()).transpose()?;
    invocation.end()?;
    let view = invocation.platform.generate_certificate(&invocation.actor, &app, host).await?;
    told(&invocation, &app, &view).await
}

async fn remove(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    invocation.end()?;
    invocation.platform.remove_certificate(&invocation.actor, &app).await?;
    invocation.done(format!("Certificate of {app} removed")).await
}

async fn show(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let what = invocation.word("what to show: crt or key")?;
    invocation.end()?;
    let is_key = match what.as_str() {
        "crt" => false,
        "key" => true,
        _ => return Err(invocation.usage("certs:show shows crt or key.")),
    };
    let pem = invocation.platform.certificate_pem(&invocation.actor, &app).await?;
    let text = if is_key { pem.key.expose().trim_end() } else { pem.chain.trim_end() };
    invocation.print(text).await
}

async fn report(invocation: Invocation) -> Result<(), Refusal> {
    let of = async |platform: &Platform, actor: &Actor, app: &AppName| {
        Ok(report_of(app, platform.certificate(actor, app).await?.as_ref()))
    };
    invocation.report_each(of).await
}

fn report_of(app: &AppName, view: Option<&CertificateView>) -> Report {
    let report = Report::new("ssl", app).row("enabled", view.is_some());
    let facts = view.map(|view| &view.facts);
    let text = |value: Option<String>| value.unwrap_or_default();
    let hosts = facts.map(|facts| facts.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    let verified = facts.map(|facts| if facts.is_self_signed { "self signed" } else { "chain in order" });
    report
        .row("hostnames", text(hosts))
        .row("expires-at", text(facts.map(|facts| moment(facts.expires_at))))
        .row("issuer", text(facts.map(|facts| facts.issuer.clone())))
        .row("starts-at", text(facts.map(|facts| moment(facts.starts_at))))
        .row("subject", text(facts.map(|facts| facts.subject.clone())))
        .row("verified", text(verified.map(str::to_owned)))
        .row("not-covered", text(view.map(|view| view.not_covered.join(" "))))
}

fn moment(at: UnixMillis) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| at.0.to_string(), |at| format!("{at:.0}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(files: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, text) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(text.len() as u64);
            header.set_mode(0o600);
            header.set_cksum();
            builder.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn an_archive_and_one_piece_say_the_same() {
        let sent = archive(&[("server.crt", "chain"), ("tls/server.key", "key")]);
        assert_eq!(text_of(&sent).unwrap(), "chain\nkey\n");
        assert_eq!(text_of(b"chain\nkey\n").unwrap(), "chain\nkey\n");
        assert!(text_of(b"\xff\xfe").is_err());
        assert!(text_of(&sent[..700]).is_err() || text_of(&sent[..700]).unwrap() != "chain\nkey\n");
    }
}
