//! [`DockerfileFacts`]: the stages of a Dockerfile, followed from the last to what it is built on.

use std::collections::{BTreeMap, BTreeSet};

use autostack_domain::docker_options::DockerOption;
use serde::Serialize;

use super::{
    expand::{Variables, expand, words},
    parse::{BadDockerfile, Instruction, Parsed, parse},
};
use crate::image::lambda;

/// Ports that one `EXPOSE` may span; more is no list of servers.
const PORTS_MAX: usize = 64;
/// Arguments that a builder sets by itself: what they hold is not known here.
const PREDEFINED: [&str; 8] = [
    "BUILDARCH",
    "BUILDOS",
    "BUILDPLATFORM",
    "BUILDVARIANT",
    "TARGETARCH",
    "TARGETOS",
    "TARGETPLATFORM",
    "TARGETVARIANT",
];

/// What a Dockerfile says about the image that it makes, as far as that can be told without the images that it
/// is built on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DockerfileFacts {
    /// Its path in the tree.
    pub path: String,
    /// The image at the root of the last stage, through all stages between; `None` where an argument without a
    /// value decides it.
    pub base: Option<String>,
    /// Every image that is needed for the last stage, in the order of the file: of `FROM`, `COPY --from` and
    /// `RUN --mount`. Without `scratch`, and without those that an argument without a value decides.
    pub images: Vec<String>,
    /// TCP ports that it exposes, besides those of its base.
    pub ports: Vec<u16>,
    /// The front end that `# syntax=` names.
    pub syntax: Option<String>,
    /// Names of all `ARG`s.
    pub args: Vec<String>,
    /// Names of the secrets that its commands may read: `--mount=type=secret,id=NAME`.
    pub secrets: Vec<String>,
    /// Whether it says what runs (`CMD`, `ENTRYPOINT`) itself, besides what its base says.
    pub has_command: bool,
    /// The user of its last `USER`; `None` for the one of its base, which most often is root.
    pub user: Option<String>,
    /// Whether its base is one for functions of AWS Lambda.
    pub is_lambda: bool,
    /// Arguments that `app.json` lets the build take from the app's config.
    pub build_args: Vec<String>,
    /// What an operator tells the engine of the build.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<DockerOption>,
}

impl DockerfileFacts {
    /// Reads a Dockerfile; `given` are arguments of the build.
    pub(crate) fn read(
        path: &str,
        text: &str,
        given: &BTreeMap<String, String>,
    ) -> Result<Self, BadDockerfile> {
        let parsed = parse(text)?;
        let mut reader = Reader::new(&parsed, given);
        for instruction in &parsed.instructions {
            reader.take(instruction)?;
        }
        let Some(last) = reader.stages.len().checked_sub(1) else {
            let line = parsed.instructions.last().map_or(1, |it| it.line);
            return Err(BadDockerfile::new(line, "no FROM says what the image is built on"));
        };
        let base = reader.root_of(last);
        let final_stage = &reader.stages[last];
        Ok(Self {
            path: path.to_owned(),
            images: reader.images_for(last),
            ports: final_stage.ports.iter().copied().collect(),
            has_command: final_stage.has_command,
            user: final_stage.user.clone(),
            is_lambda: base.as_deref().is_some_and(lambda::is_lambda_name),
            base,
            args: reader.args.into_iter().collect(),
            secrets: reader.secrets.into_iter().collect(),
            syntax: parsed.syntax.clone(),
            build_args: Vec::new(),
            options: Vec::new(),
        })
    }
}

/// Where a stage, or files in it, come from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum From {
    Stage(usize),
    Image(String),
    Unknown,
}

#[derive(Debug, Clone)]
struct Stage {
    name: Option<String>,
    from: From,
    /// Besides `from`: what files are copied or mounted from.
    uses: Vec<From>,
    ports: BTreeSet<u16>,
    has_command: bool,
    user: Option<String>,
    variables: Variables,
}

struct Reader<'a> {
    escape: char,
    given: &'a BTreeMap<String, String>,
    /// `ARG`s before the first `FROM`.
    global: Variables,
    stages: Vec<Stage>,
    args: BTreeSet<String>,
    secrets: BTreeSet<String>,
}

impl<'a> Reader<'a> {
    fn new(parsed: &Parsed, given: &'a BTreeMap<String, String>) -> Self {
        let global = PREDEFINED.into_iter().map(|name| (name.to_owned(), None)).collect();
        let (args, secrets) = (BTreeSet::new(), BTreeSet::new());
        Self { escape: parsed.escape, given, global, stages: Vec::new(), args, secrets }
    }

    fn take(&mut self, instruction: &Instruction) -> Result<(), BadDockerfile> {
        match instruction.name.as_str() {
            "FROM" => return self.from(instruction),
            "ARG" => self.arg(&instruction.arguments),
            _ if self.stages.is_empty() => {
                let why = format!("{} stands before the first FROM", instruction.name);
                return Err(BadDockerfile::new(instruction.line, why));
            }
            _ => {}
        }
        let uses = self.uses_of(instruction);
        let escape = self.escape;
        let Some(stage) = self.stages.last_mut() else { return Ok(()) };
        stage.uses.extend(uses);
        match instruction.name.as_str() {
            "ENV" => stage.env(&instruction.arguments, escape),
            "EXPOSE" => stage.expose(instruction, escape)?,
            "CMD" | "ENTRYPOINT" => stage.has_command = true,
            "USER" => stage.user = expand(&instruction.arguments, &stage.variables, escape),
            _ => {}
        }
        Ok(())
    }

    fn from(&mut self, instruction: &Instruction) -> Result<(), BadDockerfile> {
        let parts = words(&instruction.arguments);
        let (image, name) = match parts.as_slice() {
            [image] => (image, None),
            [image, r#as, name] if r#as.eq_ignore_ascii_case("as") => {
                (image, Some(name.to_ascii_lowercase()))
            }
            _ => {
                return Err(BadDockerfile::new(
                    instruction.line,
                    "write FROM as `FROM image` or `FROM image AS name`",
                ));
            }
        };
        let image = expand(image, &self.global, self.escape);
        if image.as_deref() == Some("") {
            let why = format!("`{}` comes to nothing: give its ARG a value", instruction.arguments);
            return Err(BadDockerfile::new(instruction.line, why));
        }
        let from = match image {
            None => From::Unknown,
            Some(image) => self.stage_of(&image).map_or(From::Image(image), From::Stage),
        };
        let inherited = match from {
            From::Stage(index) => Some(self.stages[index].clone()),
            From::Image(_) | From::Unknown => None,
        };
        let blank = || Stage {
            name: None,
            from: From::Unknown,
            uses: Vec::new(),
            ports: BTreeSet::new(),
            has_command: false,
            user: None,
            variables: Variables::new(),
        };
        let stage = inherited.unwrap_or_else(blank);
        self.stages.push(Stage { name, from, uses: Vec::new(), ..stage });
        Ok(())
    }

    fn stage_of(&self, name: &str) -> Option<usize> {
        self.stages.iter().rposition(|stage| stage.name.as_deref() == Some(&name.to_ascii_lowercase()))
    }

    fn arg(&mut self, arguments: &str) {
        for word in words(arguments) {
            let (name, default) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word, None),
            };
            self.args.insert(name.to_owned());
            let given = self.given.get(name).cloned();
            match self.stages.last_mut() {
                None => {
                    let value = given.or_else(|| expand(default?, &self.global, self.escape));
                    self.global.insert(name.to_owned(), value);
                }
                Some(stage) => {
                    let default = default.and_then(|text| expand(text, &stage.variables, self.escape));
                    let value = given.or(default).or_else(|| self.global.get(name).cloned().flatten());
                    stage.variables.insert(name.to_owned(), value);
                }
            }
        }
    }

    /// Images and stages that an instruction takes files from; notes the secrets that it reads.
    fn uses_of(&mut self, instruction: &Instruction) -> Vec<From> {
        let mut uses = Vec::new();
        for flag in &instruction.flags {
            if let Some(from) = flag.strip_prefix("--from=") {
                uses.push(self.source(from));
            }
            let Some(mount) = flag.strip_prefix("--mount=") else { continue };
            let fields: Vec<(&str, &str)> =
                mount.split(',').map(|field| field.split_once('=').unwrap_or((field, ""))).collect();
            let field =
                |names: &[&str]| fields.iter().find(|(key, _)| names.contains(key)).map(|(_, it)| *it);
            if let Some(from) = field(&["from"]) {
                uses.push(self.source(from));
            }
            if field(&["type"]) == Some("secret") {
                let target = || field(&["target", "dst", "destination"])?.rsplit('/').next();
                let id = field(&["id"]).filter(|id| !id.is_empty()).or_else(target);
                self.secrets.extend(id.map(str::to_owned));
            }
        }
        uses
    }

    fn source(&self, from: &str) -> From {
        let variables = self.stages.last().map(|stage| &stage.variables);
        let Some(name) = variables.and_then(|variables| expand(from, variables, self.escape)) else {
            return From::Unknown;
        };
        let by_number = || name.parse::<usize>().ok().filter(|index| *index < self.stages.len());
        self.stage_of(&name).or_else(by_number).map_or(From::Image(name), From::Stage)
    }

    /// The image at the root of a stage.
    fn root_of(&self, mut index: usize) -> Option<String> {
        loop {
            match &self.stages[index].from {
                // Always a stage before this one, so there is an end.
                From::Stage(before) => index = *before,
                From::Image(image) => return Some(image.clone()),
                From::Unknown => return None,
            }
        }
    }

    /// The images that a stage needs, directly and through others.
    fn images_for(&self, last: usize) -> Vec<String> {
        let mut needed = BTreeSet::from([last]);
        let mut waiting = vec![last];
        let mut images = Vec::new();
        while let Some(index) = waiting.pop() {
            let stage = &self.stages[index];
            for from in [&stage.from].into_iter().chain(&stage.uses) {
                match from {
                    From::Stage(other) if needed.insert(*other) => waiting.push(*other),
                    From::Image(image) if image != "scratch" => images.push((index, image.clone())),
                    From::Stage(_) | From::Image(_) | From::Unknown => {}
                }
            }
        }
        images.sort_by_key(|(index, _)| *index);
        let mut seen = BTreeSet::new();
        images.into_iter().map(|(_, image)| image).filter(|image| seen.insert(image.clone())).collect()
    }
}

impl Stage {
    fn env(&mut self, arguments: &str, escape: char) {
        let parts = words(arguments);
        // `ENV NAME the whole rest`, as it was written once.
        let is_old = parts.first().is_some_and(|first| !first.contains('='));
        let pairs: Vec<(&str, &str)> = match is_old {
            true => arguments.split_once(char::is_whitespace).into_iter().collect(),
            false => parts.iter().filter_map(|part| part.split_once('=')).collect(),
        };
        for (name, value) in pairs {
            let value = expand(value.trim(), &self.variables, escape);
            self.variables.insert(name.to_owned(), value);
        }
    }

    fn expose(&mut self, instruction: &Instruction, escape: char) -> Result<(), BadDockerfile> {
        for word in words(&instruction.arguments) {
            let Some(text) = expand(word, &self.variables, escape) else { continue };
            let (range, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else {
                let why = format!("EXPOSE {word}: {text:?} is no port");
                return Err(BadDockerfile::new(instruction.line, why));
            };
            if protocol.eq_ignore_ascii_case("tcp") {
                self.ports.extend((first..=last).filter(|port| *port != 0).take(PORTS_MAX));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(text: &str) -> DockerfileFacts {
        facts_given(text, &[])
    }

    fn facts_given(text: &str, given: &[(&str, &str)]) -> DockerfileFacts {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        DockerfileFacts::read("Dockerfile", text, &given).unwrap_or_else(|bad| panic!("{bad}\n{text}"))
    }

    fn refusal(text: &str) -> String {
        DockerfileFacts::read("Dockerfile", text, &BTreeMap::new()).unwrap_err().to_string()
    }

    #[test]
    fn the_last_stage_is_followed_to_its_root() {
        let found = facts(
            "ARG NODE=24\nFROM node:${NODE} AS Base\nEXPOSE 3000\nFROM golang:1 AS tool\nFROM base AS build\n\
             RUN x\nFROM base\nCOPY --from=build /a /a\nCOPY --from=nginx:1 /n /n\nRUN --mount=from=tool,target=/t y\n\
             CMD z\n",
        );
        assert_eq!(found.base.as_deref(), Some("node:24"));
        assert_eq!(found.images, ["node:24", "golang:1", "nginx:1"]);
        assert_eq!((found.ports.as_slice(), found.has_command, found.user), ([3000].as_slice(), true, None));
        assert_eq!(found.args, ["NODE"]);
    }

    #[test]
    fn a_stage_that_the_last_does_not_need_is_not_asked_for() {
        let found = facts("FROM golang:1 AS test\nRUN x\nFROM scratch\nCOPY a /a\nUSER 1000:1000\n");
        assert_eq!((found.base.as_deref(), found.images.len()), (Some("scratch"), 0));
        assert_eq!((found.user.as_deref(), found.has_command), (Some("1000:1000"), false));
    }

    #[test]
    fn arguments_decide_as_the_builder_lets_them() {
        let text = "ARG BASE\nARG TAG=1\nFROM ${BASE:-debian}:$TAG\nARG TAG\nARG PORT=80$TAG\nENV P=$PORT Q=1\nEXPOSE $P ${Q}0/udp 90-92/tcp\n";
        let found = facts(text);
        assert_eq!((found.base.as_deref(), found.ports), (Some("debian:1"), vec![90, 91, 92, 801]));
        let found = facts_given(text, &[("BASE", "alpine"), ("TAG", "3"), ("PORT", "5000")]);
        assert_eq!((found.base.as_deref(), found.ports), (Some("alpine:3"), vec![90, 91, 92, 5000]));
        let found = facts("ARG BASE\nFROM $BASE\nARG PORT\nEXPOSE $PORT\n");
        assert_eq!((found.base, found.images.len(), found.ports.len()), (None, 0, 0));
        let found =
            facts("FROM --platform=$BUILDPLATFORM a AS b\nFROM image-$TARGETARCH\nCOPY --from=b x y\n");
        assert_eq!((found.base, found.images), (None, vec!["a".to_owned()]));
    }

    #[test]
    fn secrets_and_syntax_are_noted() {
        let found = facts(
            "# syntax=docker/dockerfile:1.7\nFROM a\nRUN --mount=type=secret,id=TOKEN,required \\\n  \
             --mount=type=secret,target=/etc/.npmrc --mount=type=cache,id=c,target=/c x\n",
        );
        assert_eq!(found.syntax.as_deref(), Some("docker/dockerfile:1.7"));
        assert_eq!(found.secrets, [".npmrc", "TOKEN"]);
    }

    #[test]
    fn functions_are_known_by_their_base_through_stages_and_arguments() {
        let lambda = |text: &str| facts(text).is_lambda;
        assert!(lambda("FROM public.ecr.aws/lambda/nodejs:22\nCMD [\"app.handler\"]\n"));
        assert!(lambda(
            "ARG R=public.ecr.aws\nARG V=3.13\nFROM ${R}/lambda/python:${V} AS base\nFROM base AS x\nFROM x\n"
        ));
        assert!(lambda(
            "FROM node AS build\nFROM docker.io/amazon/aws-lambda-nodejs:22\nCOPY --from=build /a /a\n"
        ));
        assert!(!lambda(
            "FROM public.ecr.aws/lambda/nodejs:22 AS build\nFROM node\nCOPY --from=build /a /a\n"
        ));
        let text = "ARG BASE\nFROM $BASE\n";
        assert!(!facts(text).is_lambda);
        assert!(facts_given(text, &[("BASE", "amazon/aws-lambda-java:21")]).is_lambda);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        assert_eq!(refusal("RUN x\nFROM a\n"), "line 1: RUN stands before the first FROM");
        assert_eq!(refusal("ARG A=1\n"), "line 1: no FROM says what the image is built on");
        assert_eq!(refusal("FROM a b\n"), "line 1: write FROM as `FROM image` or `FROM image AS name`");
        assert_eq!(refusal("ARG A=\nFROM $A\n"), "line 2: `$A` comes to nothing: give its ARG a value");
        assert_eq!(refusal("FROM a\nEXPOSE web\n"), "line 2: EXPOSE web: \"web\" is no port");
    }
}
