//! Every bound that is not a setting, with its unit last in the name.

/// Bytes of one config value: 64 KiB is what the largest known service credentials need, twice over is
/// what `execve` takes for one string (128 KiB, `MAX_ARG_STRLEN`).
pub const CONFIG_VALUE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of one config name.
pub const CONFIG_NAME_BYTES_MAX: usize = 256;
/// Bytes of all names and values of one config: `execve` takes 2 MiB with everything that the platform adds.
pub const CONFIG_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a note that a tool keeps with an app.
pub const NOTE_BYTES_MAX: usize = 1024;

/// Bytes of a Procfile.
pub const PROCFILE_BYTES_MAX: usize = 64 * 1024;
/// Process types that one app may have.
pub const PROCESS_TYPES_MAX: usize = 64;
/// Bytes of an `app.json`.
pub const APP_JSON_BYTES_MAX: usize = 256 * 1024;
/// Instances of one process type.
pub const INSTANCES_PER_PROCESS_MAX: u32 = 100;

/// Bytes of the name of an image; the distribution specification's 255 for the name, a tag and a digest.
pub const IMAGE_REFERENCE_BYTES_MAX: usize = 512;

/// Bytes of the user or of the password of a registry; tokens of cloud registries are about 2 KiB.
pub const REGISTRY_LOGIN_BYTES_MAX: usize = 16 * 1024;
/// Registries that an app, or the host, may have a login at.
pub const REGISTRY_LOGINS_MAX: usize = 64;

/// Bytes of an archive of an image that is sent over a connection.
pub const IMAGE_ARCHIVE_BYTES_MAX: u64 = 32 << 30;

/// Ref updates that one push may carry.
pub const REF_UPDATES_PER_PUSH_MAX: usize = 1_000;
/// Push options that one push may carry.
pub const PUSH_OPTIONS_MAX: usize = 32;
/// Bytes of one push option.
pub const PUSH_OPTION_BYTES_MAX: usize = 4 * 1024;
/// Bytes of a pack that a push may send (threat C11).
pub const PACK_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Bytes of one object (threat C11).
pub const OBJECT_BYTES_MAX: u64 = 100 * 1024 * 1024;
/// Files in one exported commit (threat C11).
pub const SOURCE_FILES_MAX: u64 = 100_000;
/// Bytes of one exported commit, all files together (threat C11).
pub const SOURCE_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Bytes of one path in a commit (threat C11).
pub const SOURCE_PATH_BYTES_MAX: usize = 4 * 1024;
/// Folders within folders in a commit (threat C11).
pub const SOURCE_DEPTH_MAX: usize = 64;

/// Characters of the key that a client gives a request which it may send again.
pub const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;
/// Milliseconds that the answer to such a request is kept: a day.
pub const KEPT_ANSWER_MILLIS_MAX: u64 = 24 * 60 * 60 * 1000;
/// Answers that are kept of one user.
pub const KEPT_ANSWERS_PER_USER_MAX: usize = 1_000;

/// Bytes of a URL that something is fetched from.
pub const REMOTE_URL_BYTES_MAX: usize = 2 * 1024;
/// Bytes of an archive of source that is sent or fetched.
pub const SOURCE_ARCHIVE_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Redirects that a fetch follows.
pub const REDIRECTS_MAX: usize = 5;
/// Seconds that a fetch from elsewhere may take.
pub const FETCH_SECONDS_MAX: u64 = 300;
/// Archives and repositories that are fetched at once, all apps together.
pub const FETCHES_MAX: usize = 4;
/// Submodules of one commit, those within others included.
pub const SUBMODULES_MAX: usize = 100;
/// Submodules within submodules.
pub const SUBMODULE_DEPTH_MAX: usize = 5;
/// Hosts that an admin may let apps fetch from beside the public Internet.
pub const GIT_HOSTS_MAX: usize = 64;
/// Options for the engine of one app and phase.
pub const DOCKER_OPTIONS_MAX: usize = 32;
/// Bytes of the value of such an option.
pub const DOCKER_OPTION_BYTES_MAX: usize = 1024;
/// Bytes of `/dev/shm` that an operator may give an app.
pub const SHM_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Open files that an operator may let one process of an app have.
pub const NOFILE_MAX: u64 = 1024 * 1024;
/// Buildpacks of one app.
pub const BUILDPACKS_MAX: usize = 16;

/// Bytes of one log line; a longer one is cut into several.
pub const LOG_LINE_BYTES_MAX: usize = 16 * 1024;
/// Last lines of the app that a failed deployment shows as evidence.
pub const EVIDENCE_LINES_MAX: usize = 20;

/// Deployments of one app that may wait behind the running one.
pub const DEPLOYMENT_QUEUE_PER_APP_MAX: usize = 16;
/// Finished deployments of one app whose records are kept; the oldest go first, the live one stays.
pub const FINISHED_DEPLOYMENTS_PER_APP_MAX: usize = 200;

/// Bytes of a pattern that log lines are searched for.
pub const LOG_PATTERN_BYTES_MAX: usize = 1024;
/// Bytes that a pattern may take once it is compiled, and again while it is matched.
pub const LOG_PATTERN_COMPILED_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of what one event says; escaped as JSON it still fits a log line.
pub const EVENT_TEXT_BYTES_MAX: usize = 2 * 1024;
/// Bytes of events that a host keeps; the oldest go first, in pieces of a segment.
pub const EVENTS_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The least memory that an instance can be limited to: what container engines take.
pub const MEMORY_LIMIT_BYTES_MIN: u64 = 6 << 20;
/// The most: a petabyte, which no host has.
pub const MEMORY_LIMIT_BYTES_MAX: u64 = 1 << 50;
/// The least CPU time that an instance can be limited to, in thousandths of a CPU.
pub const MILLI_CPUS_MIN: u32 = 10;
/// The most, which no host has.
pub const MILLI_CPUS_MAX: u32 = 1_024_000;
/// The fewest processes and threads that an instance can be limited to: a shell and what it starts.
pub const PIDS_LIMIT_MIN: u32 = 16;
/// The most: what Linux numbers (`PID_MAX_LIMIT`).
pub const PIDS_LIMIT_MAX: u32 = 4_194_304;

/// Seconds of any duration of checks that an operator sets.
pub const CHECK_SECONDS_MAX: u32 = 3_600;
/// Attempts of a check.
pub const CHECK_ATTEMPTS_MAX: u32 = 1_000;
/// Bytes of the path that a check asks for.
pub const CHECK_PATH_BYTES_MAX: usize = 1_024;

/// Folders that one app may have mounted.
pub const MOUNTS_PER_APP_MAX: usize = 32;
/// Bytes of a mount as it is typed: two paths.
pub const MOUNT_BYTES_MAX: usize = 1_024;
/// Storage directories that one user may have made.
pub const STORAGE_DIRECTORIES_PER_USER_MAX: usize = 100;

/// Cron tasks of one app.
pub const CRON_TASKS_MAX: usize = 32;
/// Bytes of the command line of a cron task.
pub const CRON_COMMAND_BYTES_MAX: usize = 4 * 1024;
/// Bytes of a schedule.
pub const CRON_SCHEDULE_BYTES_MAX: usize = 128;
/// Runs of one cron task at the same time, where it allows more than one.
pub const CRON_RUNS_OF_TASK_MAX: usize = 4;
/// Runs of all cron tasks of one app at the same time.
pub const CRON_RUNS_OF_APP_MAX: usize = 8;
/// Runs of cron tasks of one app whose records are kept; the oldest go first.
pub const CRON_RUNS_KEPT: usize = 200;

/// One-offs of one app at once, attached and detached together: each is as large as an instance.
pub const ONE_OFFS_PER_APP_MAX: usize = 16;
/// Bytes of the command line of a one-off: what an SSH command may hold.
pub const ONE_OFF_COMMAND_BYTES_MAX: usize = 16 * 1024;
/// Addresses that one app may have beside those below the host's own domains.
pub const DOMAINS_PER_APP_MAX: usize = 100;
/// Domains of the host below which every app has a name.
pub const GLOBAL_DOMAINS_MAX: usize = 16;
/// Bytes of the path that an address begins with.
pub const PATH_PREFIX_BYTES_MAX: usize = 256;
/// Hosts of one app whose visitors are sent on.
pub const REDIRECTS_PER_APP_MAX: usize = 100;
/// Users that HTTP authentication of one app may know.
pub const HTTP_USERS_PER_APP_MAX: usize = 100;
/// Bytes of the name of such a user.
pub const HTTP_USER_BYTES_MAX: usize = 128;
/// Bytes of the password of such a user.
pub const HTTP_PASSWORD_BYTES_MAX: usize = 1024;
/// Bytes of a certificate chain and its key, in PEM.
pub const CERTIFICATE_BYTES_MAX: usize = 64 * 1024;

/// Sessions of one user; beyond it the one that was not used for the longest time ends.
pub const SESSIONS_PER_USER_MAX: usize = 50;
/// API keys of one user.
pub const API_KEYS_PER_USER_MAX: usize = 50;
/// Characters of the name of an API key.
pub const API_KEY_NAME_CHARS_MAX: usize = 100;
/// Invitations that nobody has taken yet.
pub const INVITATIONS_MAX: usize = 1_000;
/// Characters of what a user is called.
pub const USER_NAME_CHARS_MAX: usize = 100;
