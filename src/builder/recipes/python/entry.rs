//! What serves a Python app: its Procfile, Django's project, an app object in one of the usual files, a
//! script.

use autostack_domain::{Failure, FailureKind, ProcessType, Stage};

use super::declared::{Declaration, Declared};
use crate::{
    draft::{Context, Draft},
    plan::Step,
};

/// Scripts that start an app which has no framework.
pub(crate) const SCRIPTS: [&str; 6] =
    ["main.py", "app.py", "server.py", "run.py", "src/main.py", "app/main.py"];

/// Files that hold an app object, the more telling first.
const OBJECT_FILES: [&str; 16] = [
    "asgi.py",
    "wsgi.py",
    "main.py",
    "app.py",
    "server.py",
    "application.py",
    "api.py",
    "run.py",
    "src/main.py",
    "src/app.py",
    "app/main.py",
    "app/app.py",
    "app/__init__.py",
    "api/main.py",
    "src/server.py",
    "backend/main.py",
];

/// How an app object is called by a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interface {
    Asgi,
    Wsgi,
}

/// Classes whose instances are app objects.
const FRAMEWORKS: [(&str, Interface); 8] = [
    ("FastAPI", Interface::Asgi),
    ("Starlette", Interface::Asgi),
    ("Litestar", Interface::Asgi),
    ("Quart", Interface::Asgi),
    ("Flask", Interface::Wsgi),
    ("Bottle", Interface::Wsgi),
    ("Connexion", Interface::Wsgi),
    ("FlaskApp", Interface::Wsgi),
];

/// An app object that was found.
#[derive(Debug, PartialEq, Eq)]
struct AppObject {
    file: &'static str,
    /// `app`, or `create_app()` for a factory.
    name: String,
    framework: &'static str,
    interface: Interface,
    is_factory: bool,
}

/// Guesses what runs; the Procfile's own `web` is not second-guessed.
pub(crate) fn guess(
    context: &Context,
    declared: &mut Declared,
    interpreter: &str,
    draft: &mut Draft,
) -> Result<(), Failure> {
    if context.procfile_web().is_some() {
        return Ok(());
    }
    if context.source.has_file("manage.py") {
        guess_django(context, declared, draft);
        return Ok(());
    }
    if let Some(object) = find_object(context, declared) {
        guess_server(context, &object, declared, draft);
        return Ok(());
    }
    let scripts = SCRIPTS.into_iter().find(|file| context.source.has_file(file));
    let streamlit = declared.has("streamlit").then_some(scripts.or(Some("streamlit_app.py"))).flatten();
    if let Some(script) = streamlit.filter(|script| context.source.has_file(script)) {
        let line = format!("streamlit run {script} --server.address 0.0.0.0 --server.port $PORT");
        draft.guess(
            ProcessType::web(),
            format!("{line} --server.headless true"),
            "streamlit in the dependencies",
        );
        return Ok(());
    }
    // Without an environment of its own the app runs on the host's interpreter.
    let python = if declared.source.is_some() { "python" } else { interpreter };
    if let Some(script) = scripts {
        draft.guess(ProcessType::web(), format!("{python} {script}"), "the usual name");
        return Ok(());
    }
    if let Some(script) = &declared.script {
        draft.guess(ProcessType::web(), script.clone(), "the script of pyproject.toml");
        return Ok(());
    }
    if let Some(module) = &declared.module {
        draft.guess(ProcessType::web(), format!("{python} -m {module}"), "the package of pyproject.toml");
        return Ok(());
    }
    if !context.procfile.0.is_empty() {
        return Ok(());
    }
    let cause = "Python found, but nothing says how to start the app";
    Err(Failure::new(Stage::Detect, FailureKind::NoRecipe, cause)
        .evidence([format!(
            "looked for: web in the Procfile, manage.py, an app object, {}",
            SCRIPTS.join(", ")
        )])
        .hint("add a Procfile with a line such as `web: gunicorn app:app`, commit, and push again"))
}

/// Django: the project is the folder beside `manage.py` that has `wsgi.py` or `asgi.py`.
fn guess_django(context: &Context, declared: &Declared, draft: &mut Draft) {
    let folders = context.source.list("");
    let holds = |file: &str| {
        let folder = folders
            .iter()
            .find(|name| name.ends_with('/') && context.source.has_file(&format!("{name}{file}")));
        folder.map(|name| name.trim_end_matches('/').to_owned())
    };
    let (wsgi, asgi) = (holds("wsgi.py"), holds("asgi.py"));
    let command = match (wsgi, asgi) {
        (Some(project), _) if declared.has("gunicorn") => {
            format!("gunicorn --bind 0.0.0.0:$PORT {project}.wsgi")
        }
        (_, Some(project)) if declared.has("uvicorn") => {
            format!("uvicorn {project}.asgi:application --host 0.0.0.0 --port $PORT")
        }
        (_, Some(project)) if declared.has("daphne") => {
            format!("daphne --bind 0.0.0.0 --port $PORT {project}.asgi:application")
        }
        (Some(project), _) if declared.has("waitress") => {
            format!("waitress-serve --listen=0.0.0.0:$PORT {project}.wsgi:application")
        }
        _ => {
            draft.warn(
                "Django's own development server is used; add gunicorn to the dependencies for visitors",
            );
            "python manage.py runserver --noreload 0.0.0.0:$PORT".to_owned()
        }
    };
    draft.guess(ProcessType::web(), command, "manage.py");
    // nixpacks migrates whenever an instance starts; once a release is enough, and a failure rejects it.
    if context.procfile.0.is_empty()
        && let Ok(release) = ProcessType::RELEASE.parse()
    {
        draft.guess(release, "python manage.py migrate --noinput", "manage.py");
    }
}

/// Heroku's habit: collect static files where the settings say where to.
pub(crate) fn add_django_assets(context: &Context, declared: &Declared, draft: &mut Draft) {
    if !context.source.has_file("manage.py") || declared.source.is_none() {
        return;
    }
    let folders = context.source.list("");
    let settings =
        folders.iter().filter(|name| name.ends_with('/')).map(|folder| format!("{folder}settings.py"));
    let says_where = |text: &str| {
        text.lines().any(|line| line.trim_start().starts_with("STATIC_ROOT")) && text.contains("staticfiles")
    };
    if settings.into_iter().any(|file| says_where(&context.source.words(&file))) {
        draft.because("STATIC_ROOT found: python manage.py collectstatic --noinput");
        draft.steps.push(Step::new("Collecting static files", "python manage.py collectstatic --noinput"));
    }
}

fn guess_server(context: &Context, object: &AppObject, declared: &mut Declared, draft: &mut Draft) {
    let (folder, module) = module_of(context, object.file);
    let because = format!("{} object {} in {}", object.framework, object.name, object.file);
    let target = format!("{module}:{}", object.name);
    let quoted = if object.is_factory { format!("'{target}'") } else { target.clone() };
    let command = match object.interface {
        Interface::Asgi if declared.has("hypercorn") && !declared.has("uvicorn") => {
            let chdir = folder.map(|folder| format!("cd {folder} && ")).unwrap_or_default();
            format!("{chdir}hypercorn --bind 0.0.0.0:$PORT {quoted}")
        }
        Interface::Asgi => {
            add_uvicorn(declared, draft);
            let factory = if object.is_factory { "--factory " } else { "" };
            let target = target.trim_end_matches("()");
            let app_dir = folder.map(|folder| format!("--app-dir {folder} ")).unwrap_or_default();
            format!("uvicorn {factory}{app_dir}{target} --host 0.0.0.0 --port $PORT")
        }
        Interface::Wsgi if declared.has("gunicorn") => {
            let chdir = folder.map(|folder| format!("--chdir {folder} ")).unwrap_or_default();
            format!("gunicorn {chdir}--bind 0.0.0.0:$PORT {quoted}")
        }
        Interface::Wsgi if declared.has("waitress") => {
            let chdir = folder.map(|folder| format!("cd {folder} && ")).unwrap_or_default();
            format!("{chdir}waitress-serve --listen=0.0.0.0:$PORT {quoted}")
        }
        Interface::Wsgi if object.framework == "Flask" => {
            draft.warn(
                "Flask's own development server is used; add gunicorn to the dependencies for visitors",
            );
            let chdir = folder.map(|folder| format!("cd {folder} && ")).unwrap_or_default();
            format!("{chdir}flask --app {quoted} run --host 0.0.0.0 --port $PORT")
        }
        Interface::Wsgi => format!("python {}", object.file),
    };
    draft.guess(ProcessType::web(), command, &because);
}

/// An ASGI framework has no server of its own; where pip installs, one can be added.
fn add_uvicorn(declared: &mut Declared, draft: &mut Draft) {
    if declared.has("uvicorn") {
        return;
    }
    match declared.source {
        Some(Declaration::Uv | Declaration::Poetry | Declaration::Pipenv) | None => {
            draft.warn("uvicorn is not in the dependencies, and it starts the app; add it");
        }
        Some(Declaration::Requirements | Declaration::Package | Declaration::Dependencies) => {
            draft.warn("uvicorn is not in the dependencies; its newest version is installed beside them");
            declared.added.push("uvicorn");
        }
    }
}

fn find_object(context: &Context, declared: &Declared) -> Option<AppObject> {
    OBJECT_FILES.into_iter().find_map(|file| object_in(file, &context.source.words(file), declared))
}

/// The app object that a file defines at its top level.
fn object_in(file: &'static str, text: &str, declared: &Declared) -> Option<AppObject> {
    let assignments = text.lines().filter_map(assignment);
    for (name, class) in assignments {
        let known = FRAMEWORKS.into_iter().find(|(framework, _)| *framework == class);
        let known = known.or_else(|| is_factory_name(class).then(|| framework_of(declared)).flatten());
        if let Some((framework, interface)) = known {
            return Some(AppObject { file, name: name.to_owned(), framework, interface, is_factory: false });
        }
    }
    let factory =
        text.lines().filter_map(|line| line.strip_prefix("def ")?.split_once('(')).map(|(name, _)| name);
    let factory = factory.into_iter().find(|name| is_factory_name(name))?;
    let (framework, interface) = framework_of(declared)?;
    Some(AppObject { file, name: format!("{factory}()"), framework, interface, is_factory: true })
}

/// `app = FastAPI(` or `app: FastAPI = fastapi.FastAPI(` → `app`, `FastAPI`.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let (left, right) = line.split_once('=')?;
    let name = left.split(':').next().unwrap_or_default().trim_end();
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let callee = right.trim_start().split('(').next().filter(|_| right.contains('('))?.trim_end();
    let class = callee.rsplit('.').next().unwrap_or_default();
    is_name.then_some((name, class))
}

fn is_factory_name(name: &str) -> bool {
    matches!(name, "create_app" | "make_app" | "get_app" | "build_app")
}

/// The framework that the dependencies name.
fn framework_of(declared: &Declared) -> Option<(&'static str, Interface)> {
    FRAMEWORKS.into_iter().find(|(name, _)| declared.has(&name.to_ascii_lowercase()))
}

/// The module of a file, and the folder it has to be imported from: `src` is a folder of modules unless it
/// is a package itself; every other folder is taken as a package.
fn module_of(context: &Context, file: &'static str) -> (Option<&'static str>, String) {
    let path = file.trim_end_matches(".py");
    if let Some(inner) = path.strip_prefix("src/")
        && !context.source.has_file("src/__init__.py")
    {
        return (Some("src"), inner.replace('/', "."));
    }
    (None, path.trim_end_matches("/__init__").replace('/', "."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_objects_are_assignments_at_the_top_level() {
        assert_eq!(assignment("app = FastAPI(title='x')"), Some(("app", "FastAPI")));
        assert_eq!(assignment("api: FastAPI = fastapi.FastAPI()"), Some(("api", "FastAPI")));
        assert_eq!(assignment("application=flask.Flask(__name__)"), Some(("application", "Flask")));
        assert_eq!(assignment("    app = Flask(__name__)"), None);
        assert_eq!(assignment("# app = Flask(__name__)"), None);
        assert_eq!(assignment("app = x"), None);
    }
}
