//! Commands that hands know from Dokku and its plugins and that are not here: what does their job.

/// A command or a topic, and what to use instead, as the end of `Next:`.
const INSTEAD: &[(&str, &str)] = &[
    ("app-json", "app.json is read from the app's folder; builder:set APP build-dir names another"),
    ("builder-herokuish", RECIPES),
    ("builder-lambda", "an image for AWS Lambda is recognised by its base"),
    ("builder-nixpacks", RECIPES),
    ("builder-pack", RECIPES),
    ("builder-railpack", RECIPES),
    ("caddy", PROXY),
    ("cleanup", "nothing: what is no longer needed is removed by itself"),
    ("elasticsearch", SERVICE),
    ("events:off", "nothing: events are always recorded, and events shows them"),
    ("events:on", "nothing: events are always recorded, and events shows them"),
    ("git:generate-deploy-key", GIT_LOGIN),
    ("git:public-key", GIT_LOGIN),
    ("git:status", "builds:list APP shows what was deployed, git:report APP what the branch holds"),
    ("git:unlock", "builds:cancel APP ends a deployment; no lock outlives one"),
    ("haproxy", PROXY),
    (
        "letsencrypt",
        "certs:add APP keeps a certificate that you have; none is asked of an authority in this version",
    ),
    ("logs:set", "nothing: the platform keeps the logs itself, as its settings under logs say"),
    ("mariadb", SERVICE),
    ("memcached", SERVICE),
    ("mongo", SERVICE),
    ("mysql", SERVICE),
    ("network", "nothing: every app has a network of its own, and the proxy leads visitors to it"),
    ("nginx", PROXY),
    ("nginx:access-logs", "access-logs APP shows the requests"),
    ("nginx:error-logs", "access-logs APP shows the requests, logs APP what the app wrote"),
    ("openresty", PROXY),
    ("plugin", "nothing: there are no plugins, all is built in"),
    ("postgres", SERVICE),
    ("proxy:ports", "ports:list APP shows on which port visitors come"),
    ("proxy:set", "nothing: one proxy, the agent's own, serves every app"),
    ("ps:set", "checks:set APP says how instances are replaced; what ends is started again by itself"),
    ("rabbitmq", SERVICE),
    ("redis", SERVICE),
    (
        "registry:set",
        "git:from-image APP IMAGE deploys an image, registry:login lets the agent in; none is pushed",
    ),
    ("scheduler", "nothing: the agent itself starts instances, and ps:report shows them"),
    ("scheduler-docker-local", "nothing: the agent itself starts instances, and ps:report shows them"),
    ("scheduler-k3s", "nothing: the agent itself starts instances, and ps:report shows them"),
    ("shell", "enter APP opens a shell beside an instance, run APP sh one of its own; ssh -t HOST a prompt"),
    ("tags", "releases:list APP shows what was live, and rollback APP goes back to it"),
    ("traefik", PROXY),
    ("user", "ssh-keys:add NAME lets somebody in, access:add APP USER ROLE gives them an app"),
];

const GIT_LOGIN: &str =
    "git:auth HOST USER lets the agent in at a private repository, which is fetched by https";
const PROXY: &str = "proxy:report shows the proxy, which is built in; domains:add, redirect:set and http-auth:on tell it more";
const RECIPES: &str = "builder:set APP selected recipe builds without a Dockerfile";
const SERVICE: &str = "run it elsewhere, and config:set APP DATABASE_URL=... tells the app where";

/// What does the job of a command that is not here.
pub(crate) fn instead(name: &str) -> Option<&'static str> {
    let topic = name.split(':').next().unwrap_or(name);
    let of = |wanted: &str| INSTEAD.iter().find(|(known, _)| *known == wanted).map(|(_, instead)| *instead);
    of(name).or_else(|| of(topic))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands;

    #[test]
    fn what_is_said_to_be_elsewhere_is_not_here_and_names_what_is() {
        for (name, text) in INSTEAD {
            assert!(commands::command::find(name).is_none(), "{name} is here");
            for word in text.split([' ', ',', ';']).filter(|word| word.contains(':') && !word.ends_with(':'))
            {
                assert!(commands::command::find(word).is_some(), "{name}: there is no {word}");
            }
        }
        assert!(INSTEAD.is_sorted_by_key(|(name, _)| *name));
        assert_eq!(instead("postgres:create"), Some(SERVICE));
        assert_eq!(instead("nginx:access-logs"), Some("access-logs APP shows the requests"));
        assert_eq!(instead("appz:create"), None);
    }
}
