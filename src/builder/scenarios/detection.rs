//! What nixpacks decides for its own sample trees, compared with what is decided here.
//!
//! `tests/fixtures/detection.tsv` has its commands for each tree, and the files that mark the tree; their
//! contents are made up here, so that they say what the tree's commands say. Every difference stands in
//! `tests/fixtures/detection-differences.tsv` with its reason; one that does not is an error here, and so is
//! one that is no more.

use std::{collections::BTreeSet, fmt::Write, fs, os::unix::fs::PermissionsExt};

use autostack_domain::ProcessType;

use super::{detection_trees::files_of, fixtures};
use crate::{BuildPlan, Toolchains, plan};

/// A tree, and what nixpacks does with it.
pub(super) struct Row {
    pub(super) case: String,
    pub(super) markers: Vec<String>,
    pub(super) install: String,
    pub(super) build: String,
    pub(super) start: String,
}

/// A deliberate difference.
struct Difference {
    /// `install`, `build` or `start`: what both run; `step`: the title of a step that has no counterpart;
    /// `case`: a tree that is not compared.
    of: String,
    theirs: String,
    ours: String,
}

fn lines_of(file: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(fixtures(file)).unwrap();
    let lines = text.lines().skip(1).filter(|line| !line.is_empty());
    lines.map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

fn rows() -> Vec<Row> {
    let row = |columns: Vec<String>| {
        let [case, markers, install, build, start]: [String; 5] = columns.try_into().unwrap();
        let markers = markers.split(' ').filter(|file| !file.is_empty()).map(str::to_owned).collect();
        Row { case, markers, install, build, start }
    };
    lines_of("detection.tsv").into_iter().map(row).collect()
}

fn differences() -> Vec<Difference> {
    let difference = |columns: Vec<String>| {
        let [of, theirs, ours, reason]: [String; 4] =
            columns.try_into().unwrap_or_else(|columns| panic!("four columns: {columns:?}"));
        assert!(!reason.is_empty(), "{of} {theirs}: every difference has a reason");
        Difference { of, theirs, ours }
    };
    lines_of("detection-differences.tsv").into_iter().map(difference).collect()
}

/// The plan of a tree of made-up files, or the cause of its refusal.
fn plan_of(row: &Row) -> Result<BuildPlan, String> {
    let tree = tempfile::tempdir().unwrap();
    for (path, content) in files_of(row) {
        let file = tree.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        if row.start.starts_with("./") {
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    plan(tree.path(), &Toolchains::of_an_image()).map_err(|failure| format!("refused: {}", failure.cause))
}

/// What is run for `install`, `build` and `start`; steps of these titles are left out. A tree that is refused is
/// not started, whatever else would be done with it.
fn ours_of(row: &Row, planned: &Result<BuildPlan, String>, left_out: &BTreeSet<&str>) -> [String; 3] {
    let plan = match planned {
        Ok(plan) => plan,
        Err(refused) => return [row.install.clone(), row.build.clone(), refused.clone()],
    };
    let of = |is_install: bool| {
        let steps = plan.steps.iter().filter(|step| !left_out.contains(step.title.as_str()));
        let steps = steps.filter(|step| is_an_install(&step.title) == is_install);
        steps.map(|step| step.known_as.as_str()).collect::<Vec<_>>().join(" && ")
    };
    let line =
        |process: &str| plan.processes.get(&process.parse::<ProcessType>().unwrap()).cloned().flatten();
    let start = match (&plan.static_site, line("release"), line("web")) {
        (Some(site), _, _) => format!("served by the platform: {}", site.root),
        (None, Some(release), Some(web)) => format!("{release} (release) && {web}"),
        (None, _, web) => web.unwrap_or_default(),
    };
    [of(true), of(false), start]
}

fn is_an_install(title: &str) -> bool {
    ["Installing", "Downloading", "Getting", "Preparing gems"].iter().any(|word| title.starts_with(word))
}

#[test]
fn every_tree_of_nixpacks_is_built_and_started_alike_or_the_difference_has_a_reason() {
    let differences = differences();
    let mut used = vec![false; differences.len()];
    let titles = differences.iter().filter(|known| known.of == "step").map(|known| known.theirs.as_str());
    let left_out: BTreeSet<&str> = titles.collect();
    let mut wrong = String::new();
    let rows = rows();
    assert!(rows.len() > 120, "the table is whole");
    for row in &rows {
        let skipped = differences.iter().position(|known| known.of == "case" && known.theirs == row.case);
        if let Some(at) = skipped {
            used[at] = true;
            continue;
        }
        let planned = plan_of(row);
        for step in planned.iter().flat_map(|plan| &plan.steps) {
            let at = differences.iter().position(|known| known.of == "step" && known.theirs == step.title);
            at.into_iter().for_each(|at| used[at] = true);
        }
        let ours = ours_of(row, &planned, &left_out);
        let theirs = [&row.install, &row.build, &row.start];
        for ((of, theirs), ours) in ["install", "build", "start"].into_iter().zip(theirs).zip(&ours) {
            if theirs == ours {
                continue;
            }
            let listed = differences
                .iter()
                .position(|known| known.of == of && known.theirs == *theirs && known.ours == *ours);
            match listed {
                Some(at) => used[at] = true,
                None => writeln!(wrong, "{of}\t{theirs}\t{ours}\t({})", row.case).unwrap(),
            }
        }
    }
    assert!(wrong.is_empty(), "not alike, and not in detection-differences.tsv:\n{wrong}");
    let stale: Vec<String> = differences
        .iter()
        .zip(used)
        .filter(|(_, used)| !used)
        .map(|(known, _)| format!("{}\t{}\t{}", known.of, known.theirs, known.ours))
        .collect();
    assert!(stale.is_empty(), "no longer a difference:\n{}", stale.join("\n"));
}
