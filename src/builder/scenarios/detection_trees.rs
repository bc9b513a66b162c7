//! Contents for the files that mark a sample tree of nixpacks: as little as says what the tree's commands say.

use serde_json::{Value, json};

use super::detection::Row;

/// Every file of the tree.
pub(super) fn files_of(row: &Row) -> Vec<(String, String)> {
    row.markers.iter().map(|path| (path.clone(), content(row, path))).collect()
}

fn content(row: &Row, path: &str) -> String {
    let case = row.case.as_str();
    let text = match path {
        "package.json" => return package_json(row).to_string(),
        "Procfile" => return format!("web: {}\n", row.start),
        "Gemfile" => return gemfile(case),
        "Gemfile.lock" => return gemfile_lock(case),
        "requirements.txt" => requirements(case),
        "pyproject.toml" => pyproject(case),
        "composer.json" if case.contains("laravel") => {
            r#"{"require": {"php": "^8.1", "laravel/framework": "^10"}}"#
        }
        "composer.json" => r#"{"require": {"php": "^8.1", "slim/slim": "^4"}}"#,
        "composer.lock" => r#"{"packages": []}"#,
        "deno.json" => r#"{"tasks": {"start": "deno run -A dev.ts"}}"#,
        "deno.jsonc" => "{\n  // as in the sample\n  \"tasks\": {\"start\": \"deno start main.ts\"},\n}",
        "src/index.ts" if case == "deno" => {
            "import { serve } from \"https://deno.land/std@0.152.0/http/server.ts\";\n"
        }
        "package-lock.json" => r#"{"lockfileVersion": 3, "packages": {}}"#,
        "pnpm-lock.yaml" => pnpm_lock(case),
        "yarn.lock" if case.contains("berry") => "# yarn\n\n__metadata:\n  version: 6\n",
        "go.mod" if case.contains("gin") => {
            "module example.com/x\n\ngo 1.18\n\nrequire github.com/gin-gonic/gin v1.8.1\n"
        }
        "go.mod" => "module example.com/x\n\ngo 1.18\n",
        "Cargo.toml" => "[package]\nname = \"rocket\"\n\n[dependencies]\nrocket = \"0.5\"\n",
        "pom.xml" => {
            "<artifactId>spring-boot-starter-parent</artifactId>\n<groupId>org.springframework.boot</groupId>\n"
        }
        "build.gradle" if case.contains("spring") => {
            "plugins { id 'org.springframework.boot' version '3.0.0' }\n"
        }
        "config/application.rb" => "class Application < Rails::Application\nend\n",
        "Staticfile" => "root: site\n",
        "vite.config.ts" | "vite.config.js" => "export default {}\n",
        ".python-version" | "runtime.txt" if case.starts_with("python_2") => "2.7\n",
        ".python-version" => "3.11\n",
        ".nvmrc" => {
            if case.contains("lts") {
                "lts/hydrogen\n"
            } else {
                "18\n"
            }
        }
        _ if path.ends_with(".go") => "package main\n\nfunc main() {}\n",
        _ if path.ends_with(".rs") => "fn main() {}\n",
        _ => "",
    };
    text.to_owned()
}

/// Scripts exactly where nixpacks runs them.
fn package_json(row: &Row) -> Value {
    let case = row.case.as_str();
    let is_bun = row.markers.iter().any(|file| file.starts_with("bun."));
    let has = |file: &str| row.markers.iter().any(|marker| marker == file);
    let mut package = json!({"name": case, "scripts": {}, "dependencies": {"express": "^4"}});
    for (script, line) in [("build", "tsc -p ."), ("prod", "mix --production")] {
        if row.build.ends_with(&format!("run {script}")) {
            package["scripts"][script] = line.into();
            package["devDependencies"] = json!({"typescript": "^5", "laravel-mix": "^6"});
        }
    }
    if row.start.ends_with("run start") {
        package["scripts"]["start"] = if is_bun { "bun index.ts" } else { "node index.js" }.into();
    }
    if row.start.contains("caddy") || has("vite.config.ts") {
        package["scripts"]["build"] = "vite build".into();
        package["devDependencies"] = json!({"vite": "^5"});
    }
    match case {
        "node_main_file" => package["main"] = "src/index.js".into(),
        "node_main_file_not_exist" => package["main"] = "src/index.js".into(),
        "node_bun_no_start" => package["main"] = "index.ts".into(),
        "node_yarn_berry" => package["packageManager"] = "yarn@3.2.3".into(),
        "node_pnpm_corepack" | "node_pnpm_monorepo" => package["packageManager"] = "pnpm@8.6.1".into(),
        "node_react_router_v7_spa" => package["devDependencies"]["@react-router/dev"] = "^7".into(),
        "node_monorepo" => package["workspaces"] = json!(["packages/*"]),
        "node_turborepo" => {
            package["workspaces"] = json!(["apps/*"]);
            package["scripts"] = json!({"build": "turbo run build", "start": "turbo run start"});
            package["devDependencies"] = json!({"turbo": "^1"});
        }
        _ => {}
    }
    package
}

fn pnpm_lock(case: &str) -> &'static str {
    match case.rsplit('_').next() {
        Some("v6" | "v7") => "lockfileVersion: 5.4\n",
        Some("v8") => "lockfileVersion: '6.0'\n",
        _ => "lockfileVersion: '9.0'\n",
    }
}

fn gemfile(case: &str) -> String {
    let gem = match case {
        "ruby_local_deps" => "gem \"local\", path: \"local\"",
        "ruby_rails_api_app" | "ruby_rails_postgres" => "gem \"rails\"",
        "ruby_sinatra" => "gem \"sinatra\"\ngem \"puma\"",
        _ => "gem \"colorize\"",
    };
    format!("source \"https://rubygems.org\"\n\nruby \"3.1.2\"\n\n{gem}\n")
}

fn gemfile_lock(case: &str) -> String {
    let gems: &[&str] = match case {
        "ruby_rails_api_app" => &["activerecord", "bootsnap", "puma", "rails"],
        "ruby_rails_postgres" => &["activerecord", "bootsnap", "pg", "puma", "rails", "sprockets"],
        "ruby_sinatra" => &["puma", "sinatra"],
        _ => &["colorize"],
    };
    let specs: Vec<String> = gems.iter().map(|gem| format!("    {gem} (1.0.0)\n")).collect();
    format!("GEM\n  remote: https://rubygems.org/\n  specs:\n{}\nPLATFORMS\n  ruby\n", specs.concat())
}

fn requirements(case: &str) -> &'static str {
    match case {
        "python_django" | "python_django_mysql" => "Django==4.1.1\ngunicorn==20.1.0\n",
        "python_numpy" => "numpy==1.23.0\n",
        "python_psycopg" | "python_psycopg2" | "python_postgres" => "psycopg2==2.9.3\n",
        _ => "cowsay==4.0\n",
    }
}

fn pyproject(case: &str) -> &'static str {
    match case {
        "python_poetry" | "python_asdf_poetry" => {
            "[tool.poetry]\nname = \"x\"\n\n[tool.poetry.dependencies]\npython = \"^3.10\"\n"
        }
        "python_setuptools" => {
            "[build-system]\nrequires = [\"setuptools\"]\n\n[project]\nname = \"nixpacks-setuptools\"\n"
        }
        _ => "[project]\nname = \"x\"\ndependencies = [\"cowsay\"]\n",
    }
}
