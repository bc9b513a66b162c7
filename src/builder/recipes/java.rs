//! Java and its kin on the JVM: Maven's `pom.xml` or Gradle's wrapper build a jar, the framework decides how
//! it is told of `PORT`.
//!
//! Differences from nixpacks, each for a reason:
//! - Maven stops at `package`: nothing reads what `install` puts into its repository, nor the list of
//!   dependencies;
//! - a jar is chosen by what it is not (sources, javadoc, what shading or Spring leave over), for both tools:
//!   `target/*jar` starts none where there are two.

use autostack_domain::{Failure, ProcessType};

use crate::{
    draft::{Context, Draft},
    plan::{CacheFolder, Recipe, Step},
};

/// Frameworks that are told of the port by a property: a word of the build file, and the property.
const PORT_PROPERTIES: [(&str, &str); 6] = [
    ("org.springframework.boot", "server.port"),
    ("spring-boot", "server.port"),
    ("io.quarkus", "quarkus.http.port"),
    ("io.micronaut", "micronaut.server.port"),
    ("org.grails:grails-", "server.port"),
    ("org.wildfly.swarm", "swarm.http.port"),
];

/// Jars that are not the app.
const OTHER_JARS: &str = "grep -vE '/original-|-(plain|sources|javadoc|tests)\\.jar$'";

/// Whether the tree is built by Maven or Gradle.
pub(crate) fn fits(context: &Context) -> bool {
    marker(context).is_some()
}

fn marker(context: &Context) -> Option<&'static str> {
    ["gradlew", "pom.xml", "build.gradle", "build.gradle.kts"]
        .into_iter()
        .find(|file| context.source.has_file(file))
}

/// Drafts a plan for a Java app.
pub(crate) fn draft(context: &Context) -> Result<Draft, Failure> {
    let mut draft = Draft::new(Recipe::Java);
    let marker = marker(context).unwrap_or("pom.xml");
    draft.because(format!("{marker} found: Java"));
    draft.needs(context, "java", marker)?;
    draft.needs(context, "javac", marker)?;
    let build_file = ["pom.xml", "build.gradle", "build.gradle.kts"].map(|file| context.source.words(file));
    let build_file = build_file.concat();
    if let Some((version, file)) = java_version(context, &build_file) {
        draft.wants(context, "java", &version, file);
    }
    let jars = if marker == "pom.xml" { maven(context, &mut draft)? } else { gradle(context, &mut draft)? };
    if context.procfile_web().is_some() {
        return Ok(draft);
    }
    let property = PORT_PROPERTIES.iter().find(|(word, _)| build_file.contains(word));
    let port = property.map(|(_, name)| format!(" -D{name}=$PORT")).unwrap_or_default();
    let because = property.map_or("the jar of the build", |(word, _)| word);
    // Quarkus makes a folder with a small jar that starts what is beside it.
    let is_quarkus = because == "io.quarkus";
    let jar = match is_quarkus {
        true => format!("{jars}/quarkus-app/quarkus-run.jar").replace("build/libs", "build"),
        false => format!("$(ls -1 {jars}/*.jar | {OTHER_JARS} | head -n 1)"),
    };
    draft.guess(ProcessType::web(), format!("java{port} $JAVA_OPTS -jar {jar}"), because);
    Ok(draft)
}

/// Builds with Maven; returns the folder of the jar.
fn maven(context: &Context, draft: &mut Draft) -> Result<&'static str, Failure> {
    let program = if context.source.has_file("mvnw") { wrapper("mvnw") } else { "mvn" };
    if program == "mvn" {
        draft.needs(context, "mvn", "pom.xml")?;
    }
    let arguments = "-B -DskipTests clean package";
    draft.cache(CacheFolder::new("maven", "AUTOSTACK_MAVEN"));
    let known_as = format!("{} {arguments}", if program == "mvn" { "mvn" } else { "./mvnw" });
    draft.because(format!("Building: {known_as}"));
    let command = format!("{program} -Dmaven.repo.local=\"$AUTOSTACK_MAVEN\" {arguments}");
    draft.steps.push(Step::new("Building", command).known_as(known_as));
    Ok("target")
}

/// Builds with Gradle; returns the folder of the jar.
fn gradle(context: &Context, draft: &mut Draft) -> Result<&'static str, Failure> {
    let has_wrapper = context.source.has_file("gradlew");
    if !has_wrapper {
        draft.needs(context, "gradle", "build.gradle")?;
    }
    let arguments = "clean build -x check -x test";
    draft.cache(CacheFolder::new("gradle", "GRADLE_USER_HOME"));
    let known_as = format!("{} {arguments}", if has_wrapper { "./gradlew" } else { "gradle" });
    draft.because(format!("Building: {known_as}"));
    // A daemon would outlive the step, and be ended with it.
    let program = if has_wrapper { wrapper("gradlew") } else { "gradle" };
    let command = format!("{program} --no-daemon {arguments}");
    draft.steps.push(Step::new("Building", command).known_as(known_as));
    Ok("build/libs")
}

/// Runs a wrapper script, also where git has lost that it may be executed.
fn wrapper(file: &str) -> &'static str {
    if file == "mvnw" { "sh ./mvnw" } else { "sh ./gradlew" }
}

/// The version of Java that the app asks for: Heroku's file, Maven's properties, Gradle's toolchain.
fn java_version(context: &Context, build_file: &str) -> Option<(String, &'static str)> {
    let properties = context.source.words("system.properties");
    let asked = properties.lines().find_map(|line| line.trim().strip_prefix("java.runtime.version"));
    let asked = asked.map(|rest| rest.trim_start_matches([' ', '=', ':']).trim().to_owned());
    if let Some(version) = asked.filter(|version| !version.is_empty()) {
        return Some((version, "system.properties"));
    }
    let maven = ["<java.version>", "<maven.compiler.release>", "<maven.compiler.target>"];
    let maven = maven.iter().find_map(|tag| after(build_file, tag, '<')).map(|it| (it, "pom.xml"));
    maven.or_else(|| after(build_file, "JavaLanguageVersion.of(", ')').map(|it| (it, "build.gradle")))
}

/// The number between `start` and `end`.
fn after(text: &str, start: &str, end: char) -> Option<String> {
    let value = text.split_once(start)?.1.split(end).next()?.trim();
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    is_number.then(|| value.trim_start_matches("1.").to_owned())
}
