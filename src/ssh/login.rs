//! Who a connection is. Only a key whose signature was verified decides (threat C1); what was merely
//! offered is remembered for one purpose: to tell a client that gave up which keys are not known here.

use autostack_domain::{Line, permission::Actor};
use russh::{
    MethodKind, MethodSet,
    keys::{Algorithm, HashAlg, PublicKey},
    server::Auth,
};

use crate::{algorithms, service::Unavailable};

/// The state of one login.
#[derive(Debug, Default)]
pub(crate) struct Login {
    /// Fingerprints of keys that are not known, in the order of their refusal. Gives no right to anything.
    refused: Vec<String>,
    /// Whether keys could not be looked up at all.
    unavailable: bool,
    refused_max: usize,
    /// Who it is, once a signature has proved it, and by which key; never changed after.
    actor: Option<(Actor, String)>,
}

impl Login {
    pub(crate) fn new(refused_max: usize) -> Self {
        Self { refused_max, ..Self::default() }
    }

    /// Who it is.
    pub(crate) fn actor(&self) -> Option<&Actor> {
        self.actor.as_ref().map(|(actor, _)| actor)
    }

    /// Who it is, and the fingerprint of the key that has proved it.
    pub(crate) fn proved(&self) -> Option<&(Actor, String)> {
        self.actor.as_ref()
    }

    /// Answers a key that is offered, without a proof yet: whether the proof is wanted.
    pub(crate) fn offered(
        &mut self,
        fingerprint: String,
        known: &Result<Option<Actor>, Unavailable>,
    ) -> Auth {
        match known {
            Ok(Some(_)) => Auth::Accept,
            Ok(None) => self.refuse(fingerprint),
            Err(Unavailable) => self.refuse_for_now(),
        }
    }

    /// Answers a key that was proved to be the client's.
    pub(crate) fn verified(
        &mut self,
        fingerprint: String,
        known: Result<Option<Actor>, Unavailable>,
    ) -> Auth {
        match known {
            Ok(Some(actor)) => {
                self.actor = Some((actor, fingerprint));
                Auth::Accept
            }
            Ok(None) => self.refuse(fingerprint),
            Err(Unavailable) => self.refuse_for_now(),
        }
    }

    /// Answers the keyboard-interactive question, which is only there to carry the reason of a refusal:
    /// it asks nothing, and every answer to it is refused.
    pub(crate) fn explain(&mut self, answered: bool) -> Auth {
        let reason = self.reason();
        if answered || reason.is_empty() {
            return reject([MethodKind::PublicKey].as_slice());
        }
        let text: Vec<String> = reason.iter().map(Line::to_string).collect();
        Auth::Partial { name: "".into(), instructions: text.join("\n").into(), prompts: [].as_slice().into() }
    }

    fn refuse(&mut self, fingerprint: String) -> Auth {
        if !self.refused.contains(&fingerprint) && self.refused.len() < self.refused_max {
            tracing::info!(fingerprint, "refused an unknown ssh key");
            self.refused.push(fingerprint);
        }
        if self.refused.len() < self.refused_max {
            reject([MethodKind::PublicKey, MethodKind::KeyboardInteractive].as_slice())
        } else {
            reject([MethodKind::KeyboardInteractive].as_slice())
        }
    }

    fn refuse_for_now(&mut self) -> Auth {
        self.unavailable = true;
        reject([MethodKind::KeyboardInteractive].as_slice())
    }

    fn reason(&self) -> Vec<Line> {
        if self.unavailable {
            return vec![
                Line::trouble("Keys cannot be looked up at the moment; try again in a minute."),
                Line::trouble("The agent's log says why."),
            ];
        }
        let Some(first) = self.refused.first() else { return Vec::new() };
        let mut lines = vec![Line::trouble(format!("This key is not known here: {first}"))];
        lines.extend(self.refused.iter().skip(1).map(|other| Line::trouble(format!("Neither is {other}"))));
        lines.push(Line::trouble("Next: on the host, autostack admin key add NAME < YOUR_KEY.pub"));
        lines
    }
}

fn reject(methods: &[MethodKind]) -> Auth {
    Auth::Reject { proceed_with_methods: Some(MethodSet::from(methods)), partial_success: false }
}

/// `SHA256:…`, or `None` where a key of this kind is not accepted here.
pub(crate) fn fingerprint(key: &PublicKey, algorithm: &Algorithm) -> Option<String> {
    algorithms::accepts(algorithm).then(|| key.fingerprint(HashAlg::Sha256).to_string())
}

/// The answer to a key of a kind that is not accepted.
pub(crate) fn not_accepted() -> Auth {
    Auth::reject()
}

#[cfg(test)]
mod tests {
    use autostack_domain::account::Reach;

    use super::*;

    fn ada() -> Actor {
        let user = "00000000-0000-0000-0000-000000000001".parse().unwrap();
        Actor { user, is_admin: false, name: "ada".into(), from: None, reach: Reach::Full }
    }

    #[test]
    fn c1_an_offered_key_makes_nobody() {
        let mut login = Login::new(6);
        assert_eq!(login.offered("SHA256:admin".into(), &Ok(Some(ada()))), Auth::Accept);
        assert!(login.actor().is_none());
        assert_ne!(login.verified("SHA256:own".into(), Ok(None)), Auth::Accept);
        assert!(login.actor().is_none());
        assert_eq!(login.verified("SHA256:ada".into(), Ok(Some(ada()))), Auth::Accept);
        assert_eq!(login.actor().unwrap().name, "ada");
    }

    #[test]
    fn no_answer_to_the_explanation_logs_in() {
        let mut login = Login::new(6);
        assert_eq!(login.explain(false), reject(&[MethodKind::PublicKey]));
        login.offered("SHA256:x".into(), &Ok(None));
        assert!(matches!(login.explain(false), Auth::Partial { prompts, .. } if prompts.is_empty()));
        assert_eq!(login.explain(true), reject(&[MethodKind::PublicKey]));
    }

    #[test]
    fn after_the_last_try_no_further_key_is_asked_for() {
        let mut login = Login::new(2);
        let both = reject(&[MethodKind::PublicKey, MethodKind::KeyboardInteractive]);
        assert_eq!(login.offered("SHA256:a".into(), &Ok(None)), both);
        let last = login.offered("SHA256:b".into(), &Ok(None));
        assert_eq!(last, reject(&[MethodKind::KeyboardInteractive]));
        let Auth::Partial { instructions, .. } = login.explain(false) else { panic!("no explanation") };
        assert!(instructions.contains("SHA256:a") && instructions.contains("SHA256:b"), "{instructions}");
    }
}
