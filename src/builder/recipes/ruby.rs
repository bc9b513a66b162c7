//! Ruby: `Gemfile` says what is installed, Rails or Rack what starts.
//!
//! Differences from nixpacks, each for a reason:
//! - gems are put into the artifact (`vendor/bundle`) without those of development and tests, as Heroku does;
//!   `GEM_HOME` says so to `ruby` as well as to `bundle`, so that a Procfile may do without `bundle exec`;
//! - Rails migrates once a release, not whenever an instance starts, and a failure rejects the release;
//! - each instance has a pid file of its own: they share the folder, and Rails refuses to start where it
//!   finds the file of another;
//! - Puma is started itself where the app has it: it is what `rackup` would choose, and it hears signals.

use std::collections::BTreeSet;

use autostack_domain::{Failure, ProcessType, release::StaticSite};

use crate::{
    draft::{Context, Draft, no_start},
    plan::{CacheFolder, Recipe, Reuse, Step},
};

/// Where the gems stand in the artifact.
const GEMS: &str = "vendor/bundle";
/// Scripts that start an app which has no framework.
const SCRIPTS: [&str; 5] = ["app.rb", "main.rb", "server.rb", "web.rb", "index.rb"];

/// Whether the tree is of Ruby.
pub(crate) fn fits(context: &Context) -> bool {
    context.source.has_file("Gemfile")
}

/// Drafts a plan for a Ruby app.
pub(crate) fn draft(context: &Context) -> Result<Draft, Failure> {
    let mut draft = Draft::new(Recipe::Ruby);
    draft.because("Gemfile found: Ruby");
    draft.needs(context, "ruby", "Gemfile")?;
    draft.needs(context, "bundle", "Gemfile")?;
    if let Some((version, file)) = ruby_version(context) {
        draft.wants(context, "ruby", &version, file);
    }
    let gems = gems(context);
    for (name, value) in [
        ("BUNDLE_WITHOUT", "development:test"),
        ("GEM_HOME", GEMS),
        ("MALLOC_ARENA_MAX", "2"),
        ("RACK_ENV", "production"),
    ] {
        draft.launch_var(name, value);
    }
    draft.launch_path(&format!("{GEMS}/bin"));
    add_install(context, &gems, &mut draft);
    if is_rails(context, &gems) {
        add_rails(context, &gems, &mut draft);
    } else if gems.contains("jekyll") && context.source.has_file("_config.yml") {
        draft.because("jekyll found: the built _site/ is served by the platform itself");
        draft.launch_var("JEKYLL_ENV", "production");
        draft.steps.push(Step::new("Building", "bundle exec jekyll build"));
        let not_found = Some("404.html".to_owned());
        draft.static_site = Some(StaticSite { root: "_site".to_owned(), not_found, single_page: false });
    } else {
        guess(context, &gems, &mut draft)?;
    }
    Ok(draft)
}

fn add_install(context: &Context, gems: &BTreeSet<String>, draft: &mut Draft) {
    let lock = context.source.words("Gemfile.lock");
    let line = "bundle install";
    draft.because(format!("Gemfile{} found: {line}", if lock.is_empty() { "" } else { ".lock" }));
    draft.cache(CacheFolder::new("bundle", "BUNDLE_USER_CACHE"));
    // Gems that are folders of the app, or that other files name, are not decided by these two alone.
    let gemfile = context.source.words("Gemfile");
    let looks_further = ["eval_gemfile", "File.", "require_relative", "Dir", "gemspec"];
    let is_decided = !lock.is_empty()
        && !["PATH\n", "GIT\n"].iter().any(|section| lock.contains(section))
        && !looks_further.iter().any(|word| gemfile.contains(word));
    let reuse = is_decided.then(|| Reuse {
        folder: GEMS.to_owned(),
        decided_by: ["Gemfile", "Gemfile.lock", ".bundle/config", ".ruby-version"]
            .map(str::to_owned)
            .to_vec(),
        tool: "ruby".to_owned(),
    });
    let mut step = Step::new("Installing gems", line)
        .env("BUNDLE_GLOBAL_GEM_CACHE", "true")
        .env("BUNDLE_SILENCE_ROOT_WARNING", "true")
        .reuse(reuse);
    if lock.is_empty() {
        draft.warn(
            "no Gemfile.lock: every build may install other versions; commit the one that bundle writes",
        );
    } else {
        step = step.env("BUNDLE_FROZEN", "true");
    }
    draft.steps.push(step);
    if gems.contains("bootsnap") {
        draft.steps.push(Step::new("Preparing gems", "bundle exec bootsnap precompile --gemfile"));
    }
}

/// Assets, migrations, the server of Rails.
fn add_rails(context: &Context, gems: &BTreeSet<String>, draft: &mut Draft) {
    for (name, value) in [
        ("RAILS_ENV", "production"),
        ("RAILS_LOG_TO_STDOUT", "enabled"),
        ("RAILS_SERVE_STATIC_FILES", "enabled"),
    ] {
        draft.launch_var(name, value);
    }
    if gems.contains("sprockets") || gems.contains("propshaft") {
        let line = "bundle exec rake assets:precompile";
        draft.because(format!("An asset pipeline found: {line}"));
        // Rails boots for it and wants a secret, which no asset depends on.
        let command = format!("SECRET_KEY_BASE=\"${{SECRET_KEY_BASE:-unused}}\" {line}");
        draft.steps.push(Step::new("Precompiling assets", command).known_as(line));
    }
    if gems.contains("bootsnap") {
        draft.steps.push(Step::new("Preparing the app", "bundle exec bootsnap precompile app/ lib/"));
    }
    if context.procfile_web().is_none() {
        let command = "bundle exec bin/rails server -b 0.0.0.0 -p $PORT -P tmp/pids/web-$PORT.pid";
        let command = match context.source.has_file("bin/rails") {
            true => command.to_owned(),
            false => command.replace("bin/rails", "rails"),
        };
        draft.guess(ProcessType::web(), command, "Rails");
    }
    let has_database = context.source.has_file("config/database.yml") && gems.contains("activerecord");
    if has_database
        && context.procfile.0.is_empty()
        && let Ok(release) = ProcessType::RELEASE.parse()
    {
        draft.guess(release, "bundle exec rake db:migrate", "Rails with config/database.yml");
    }
}

/// What serves an app that is not of Rails; the Procfile's own `web` is not second-guessed.
fn guess(context: &Context, gems: &BTreeSet<String>, draft: &mut Draft) -> Result<(), Failure> {
    if context.procfile_web().is_some() {
        return Ok(());
    }
    if context.source.has_file("config.ru") {
        let (command, because) = match gems.contains("puma") {
            true => ("bundle exec puma -b tcp://0.0.0.0:$PORT", "config.ru, and puma in the gems"),
            false => ("bundle exec rackup config.ru -o 0.0.0.0 -p $PORT", "config.ru"),
        };
        draft.guess(ProcessType::web(), command, because);
        return Ok(());
    }
    if let Some(script) = SCRIPTS.into_iter().find(|file| context.source.has_file(file)) {
        draft.guess(ProcessType::web(), format!("bundle exec ruby {script}"), "the usual name");
        return Ok(());
    }
    if !context.procfile.0.is_empty() {
        return Ok(());
    }
    Err(no_start(
        "Gemfile found, but nothing says how to start the app",
        &format!("web in the Procfile, Rails, config.ru, {}", SCRIPTS.join(", ")),
        "add a Procfile with a line such as `web: bundle exec ruby app.rb`, commit, and push again",
    ))
}

fn is_rails(context: &Context, gems: &BTreeSet<String>) -> bool {
    let application = context.source.words("config/application.rb");
    application.contains("Rails::Application")
        || (gems.contains("rails") && context.source.has_file("bin/rails"))
}

/// Names of the gems: of the lock file with what they bring along, else of the Gemfile.
fn gems(context: &Context) -> BTreeSet<String> {
    let lock = context.source.words("Gemfile.lock");
    let locked = lock.lines().filter_map(|line| {
        let name = line.strip_prefix("    ")?.trim_start();
        name.split([' ', '!', '(']).next().filter(|name| !name.is_empty()).map(str::to_owned)
    });
    let gemfile = context.source.words("Gemfile");
    let named = gemfile.lines().filter_map(|line| {
        let rest = line.trim().strip_prefix("gem ")?.trim_start_matches(['(', ' ']);
        let quote = rest.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        rest[1..].split(quote).next().map(str::to_owned)
    });
    locked.chain(named).collect()
}

/// The version of Ruby that the app asks for, and where it says so.
fn ruby_version(context: &Context) -> Option<(String, &'static str)> {
    let plain = context.source.words(".ruby-version");
    let plain = plain.lines().next().map(|line| line.trim().trim_start_matches("ruby-").to_owned());
    if let Some(version) = plain.filter(|version| version.starts_with(|c: char| c.is_ascii_digit())) {
        return Some((version, ".ruby-version"));
    }
    let gemfile = context.source.words("Gemfile");
    let asked = gemfile.lines().find_map(|line| line.strip_prefix("ruby ")).map(str::trim);
    let asked = asked.and_then(|rest| {
        let quote = rest.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        rest[1..].split(quote).next().map(str::to_owned)
    });
    if let Some(version) = asked.filter(|version| !version.is_empty()) {
        return Some((version, "Gemfile"));
    }
    let lock = context.source.words("Gemfile.lock");
    let locked = lock.split_once("RUBY VERSION\n")?.1.trim_start().strip_prefix("ruby ")?;
    let version = locked.split(['p', '\n']).next()?.trim().to_owned();
    Some((version, "Gemfile.lock"))
}
