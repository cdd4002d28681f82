//! Buckets as folders of a server: a tool that speaks S3, its configuration, and a service of systemd that keeps it
//! running.
//!
//! In: a guest, a bucket with its keys, and where it is wanted. Out: a folder in which the objects are files, now and
//! after every boot. Invariants:
//! - The keys are in one file of the server, which only the user who reads the bucket may read; no command line and no
//!   unit has them.
//! - It is not unmounted before all that was written is in the bucket: the server may be gone a moment later.
//! - A folder that is not empty, or where something else is mounted, is left alone.

use std::sync::Arc;
use std::time::Duration;

use super::filesystem::{BUSY, busy};
use super::shell::Program;
use super::{Guest, GuestError, Tell, succeeded};
use crate::ssh::{End, Ended};

const MOUNT: &str = include_str!("bucket_mount.sh");
/// Ends once what the service runs has mounted the folder, or has ended itself.
const MOUNTED: &str = "until mountpoint -q \"$0\"; do kill -0 \"$MAINPID\" || exit 1; sleep 0.2; done";
/// Frees the folder of a mount whose tool died, or was stopped while somebody was in it. What else somebody mounted there is left alone, and waited for to go.
const FREE: &str = "kind=; while read -r _ at is _; do [ \"$at\" != \"$1\" ] || kind=$is; done </proc/self/mounts; case $kind in \
                    '') ;; fuse|fuse.*) umount -l \"$0\" ;; *) echo \"$kind is mounted at $0\" >&2; exit 1 ;; esac";
const UNMOUNT: &str = concat!(include_str!("users.sh"), include_str!("bucket_unmount.sh"));

/// Installing the tool over a slow line is the longest of it.
const MOUNTING: Duration = Duration::from_secs(1200);
/// What was written must be uploaded first.
const UNMOUNTING: Duration = Duration::from_secs(1200);
/// What `bucket_mount.sh` says where the store does not let the keys in, or has no such bucket.
const NOT_READ: End = End::Status(66);
/// And where the tool ends, or does not mount.
const NOT_MOUNTED: End = End::Status(67);

/// What makes files of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// `rclone mount`.
    Rclone,
    /// `s3fs`.
    S3fs,
    /// `goofys`.
    Goofys,
}

impl Tool {
    /// The tools' names, as specs have them.
    pub const NAMES: &[&str] = &["rclone", "s3fs", "goofys"];

    /// The tool of that name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        match name {
            "s3fs" => Self::S3fs,
            "goofys" => Self::Goofys,
            _ => Self::Rclone,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rclone => "rclone",
            Self::S3fs => "s3fs",
            Self::Goofys => "goofys",
        }
    }
}

/// A bucket, and where it is mounted.
#[derive(Clone)]
pub struct Bucket<'a> {
    /// The service's name, without `.service`; one for each bucket that a stack mounts.
    pub service: &'a str,
    /// What people call it: `attachments.food11`.
    pub label: &'a str,
    /// The bucket's name.
    pub bucket: &'a str,
    /// The store: `https://chi.tacc.chameleoncloud.org:7480`.
    pub endpoint: &'a str,
    /// The region that requests are signed for.
    pub region: &'a str,
    /// The key's id.
    pub access_key: &'a str,
    /// The key.
    pub secret_key: &'a str,
    /// The folder.
    pub path: &'a str,
    /// What mounts it.
    pub tool: Tool,
    /// Whether for reading only.
    pub read_only: bool,
    /// Whether users other than the owner see it.
    pub allow_other: bool,
    /// Whose the files are, and as whom the tool runs; the log-in user where empty.
    pub owner: &'a str,
    /// More arguments for the tool.
    pub options: Vec<&'a str>,
}

impl Bucket<'_> {
    /// The text of the file with the keys.
    fn config(&self) -> String {
        let Self { access_key, secret_key, endpoint, region, .. } = self;
        match self.tool {
            Tool::Rclone => format!(
                "[store]\ntype = s3\nprovider = Other\nendpoint = {endpoint}\nregion = {region}\n\
                 access_key_id = {access_key}\nsecret_access_key = {secret_key}\nno_check_bucket = true\n"
            ),
            Tool::S3fs => format!("{access_key}:{secret_key}\n"),
            Tool::Goofys => {
                format!("[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n")
            }
        }
    }

    /// The text of the service. Whose it is, the server says: `@user@`, `@uid@`, `@gid@`.
    fn unit(&self) -> String {
        let conf = format!("/etc/anole/buckets/{}.conf", self.service);
        let (kind, environment, words) = match self.tool {
            Tool::Rclone => ("notify", String::new(), self.rclone(&conf)),
            Tool::S3fs => ("simple", String::new(), self.s3fs(&conf)),
            Tool::Goofys => {
                let environment = format!("Environment={}\n", word(&format!("AWS_SHARED_CREDENTIALS_FILE={conf}")));
                ("simple", environment, self.goofys())
            }
        };
        let line = |words: &[String]| words.iter().map(|text| word(text)).collect::<Vec<_>>().join(" ");
        // rclone says when it has mounted; of the others it is found out, so that what systemd has started is mounted.
        let after = match kind {
            "notify" => String::new(),
            _ => {
                let words = ["sh", "-c", MOUNTED, self.path].map(str::to_owned);
                format!("ExecStartPost=/usr/bin/env {}\n", line(&words))
            }
        };
        let service = self.service;
        let free = line(&["sh", "-c", FREE, self.path, &listed(self.path)].map(str::to_owned));
        let title = format!("Bucket {} ({})", self.bucket, self.label).replace('%', "%%");
        format!(
            "[Unit]\nDescription={title}\nWants=network-online.target\nAfter=network-online.target\n\
             StartLimitIntervalSec=0\n\n\
             [Service]\nType={kind}\nUser=@user@\nCacheDirectory={service}\n{environment}\
             ExecStartPre=+/usr/bin/env {free}\nExecStart=/usr/bin/env {}\n{after}ExecStopPost=-+/usr/bin/env {free}\n\
             Restart=on-failure\nRestartSec=5\nTimeoutStopSec=300\n\n\
             [Install]\nWantedBy=multi-user.target",
            line(&words)
        )
    }

    fn rclone(&self, conf: &str) -> Vec<String> {
        let mut words = vec!["rclone".to_owned(), "mount".to_owned(), format!("store:{}", self.bucket)];
        words.extend([self.path.to_owned(), format!("--config={conf}"), "--dir-cache-time=10s".to_owned()]);
        // The times that files had are in each object's own metadata: asking for them costs a request for every file listed.
        words.extend(["--use-server-modtime".to_owned(), format!("--cache-dir=/var/cache/{}", self.service)]);
        words.push(match self.read_only {
            true => "--read-only".to_owned(),
            // Without a cache, programs could not write but from a file's beginning to its end.
            false => "--vfs-cache-mode=writes".to_owned(),
        });
        words.extend(self.allow_other.then(|| "--allow-other".to_owned()));
        words.extend(self.options.iter().map(|option| (*option).to_owned()));
        words
    }

    fn s3fs(&self, conf: &str) -> Vec<String> {
        let Self { endpoint, region, .. } = self;
        let mut options = format!(
            "passwd_file={conf},url={endpoint},endpoint={region},use_path_request_style,uid=@uid@,gid=@gid@,umask=0022"
        );
        options.push_str(if self.read_only { ",ro" } else { "" });
        options.push_str(if self.allow_other { ",allow_other" } else { "" });
        let words = ["s3fs", self.bucket, self.path, "-f", "-o", &options];
        words.into_iter().chain(self.options.iter().copied()).map(str::to_owned).collect()
    }

    fn goofys(&self) -> Vec<String> {
        let mut words = vec!["goofys", "-f", "--endpoint", self.endpoint, "--region", self.region];
        words.extend(["--uid", "@uid@", "--gid", "@gid@"]);
        words.extend(self.read_only.then_some(["-o", "ro"]).into_iter().flatten());
        words.extend(self.allow_other.then_some(["-o", "allow_other"]).into_iter().flatten());
        words.extend(self.options.iter().copied().chain([self.bucket, self.path]));
        words.into_iter().map(str::to_owned).collect()
    }
}

/// A text as one word of a unit's command line. See systemd.service(5), "Command lines", and systemd.unit(5), "Specifiers".
fn word(text: &str) -> String {
    let escaped = text.replace('\\', r"\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    format!("\"{escaped}\"")
}

/// A path as the kernel lists it among what is mounted.
fn listed(path: &str) -> String {
    path.replace('\\', r"\134").replace(' ', r"\040").replace('\t', r"\011").replace('\n', r"\012")
}

/// Passes on what a program says is under way.
fn steps(program: Program, tell: &Tell) -> Program {
    let tell = tell.clone();
    program.lines(Arc::new(move |_, line: &str| {
        if let Some(step) = line.strip_prefix("step ") {
            tell(step);
        }
    }))
}

/// Mounts a bucket, now and after every boot.
///
/// # Errors
/// When something is in the way, or the store does not answer as it should; what the tool said.
pub async fn mount(guest: &Guest, bucket: &Bucket<'_>, tell: &Tell) -> Result<(), GuestError> {
    let program = Program::new(format!("mounting bucket {}", bucket.bucket), MOUNT)
        .value("service", bucket.service)
        .value("unit", &bucket.unit())
        .value("config", &bucket.config())
        .value("tool", bucket.tool.name())
        .value("bucket", bucket.bucket)
        .value("path", bucket.path)
        .value("owner", bucket.owner)
        .value("allow_other", if bucket.allow_other { "yes" } else { "" })
        .timeout(MOUNTING);
    let ended = guest.run(&steps(program, tell)).await?;
    match ended.end {
        NOT_READ | NOT_MOUNTED => Err(unread(&ended, bucket)),
        _ => succeeded(ended).map(drop),
    }
}

/// Why a bucket cannot be read, by what its tool says.
fn unread(ended: &Ended, bucket: &Bucket<'_>) -> GuestError {
    let (message, hint) = reason(&ended.stderr.text(), bucket);
    GuestError::Failed { message, output: ended.stderr.last_lines(6), hint: Some(hint.to_owned()) }
}

/// What is wrong by what a tool said, and what to do.
fn reason(said: &str, bucket: &Bucket<'_>) -> (String, &'static str) {
    let Bucket { bucket: name, endpoint, .. } = bucket;
    let tool = bucket.tool.name();
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    // Only where they say what they are: ids of requests and names are full of digits.
    let status = |code: u16| ["StatusCode: ", "status code: ", "response code "].map(|word| format!("{word}{code}"));
    let has_status = |code| status(code).iter().any(|word| said.contains(word.as_str()));
    if says(&["InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "Forbidden"]) || has_status(403) {
        let hint = "check `access_key` and `secret_key`, and that the credential is of the project that has the bucket";
        (format!("{endpoint} does not let the keys read bucket `{name}`"), hint)
    } else if says(&["NoSuchBucket", "directory not found"]) || has_status(404) {
        let hint = "make the bucket first, or correct its name; a bucket of another project is not found either";
        (format!("{endpoint} has no bucket `{name}`"), hint)
    } else if says(&["connection refused", "no such host", "timeout", "i/o timeout", "network is unreachable"]) {
        let hint = "check `endpoint`: the server itself must reach it";
        (format!("the server does not reach {endpoint}"), hint)
    } else {
        (format!("{tool} does not mount bucket `{name}` of {endpoint}"), "see what it says; then apply again")
    }
}

/// Unmounts a bucket once all that was written is in it, and takes its service and keys away.
///
/// # Errors
/// Where somebody uses it, who does; where something is not in the bucket yet, how much.
pub async fn unmount(guest: &Guest, service: &str, path: &str, tell: &Tell) -> Result<(), GuestError> {
    let program = Program::new(format!("unmounting {path}"), UNMOUNT)
        .value("service", service)
        .value("path", path)
        .timeout(UNMOUNTING);
    tell(&format!("unmounting {path}"));
    let ended = guest.run(&steps(program, tell)).await?;
    if ended.end == BUSY {
        return Err(busy(&ended, path));
    }
    succeeded(ended).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUCKET: Bucket<'_> = Bucket {
        service: "anole-bucket-lab-food11",
        label: "attachments.food11",
        bucket: "object-chi",
        endpoint: "https://chi.example.org:7480",
        region: "us-east-1",
        access_key: "the-id",
        secret_key: "the-key",
        path: "/mnt/100% \"mine\"",
        tool: Tool::Rclone,
        read_only: true,
        allow_other: true,
        owner: "",
        options: Vec::new(),
    };

    fn started(bucket: &Bucket<'_>) -> String {
        let unit = bucket.unit();
        assert!(!unit.contains("the-id") && !unit.contains("the-key"), "{unit}");
        unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/env ")).unwrap().replace("\" \"", "\"\n\"")
    }

    #[test]
    fn the_service_and_its_keys() {
        insta::assert_snapshot!(BUCKET.unit().replace(&started(&BUCKET).replace('\n', " "), "…"), @r#"
        [Unit]
        Description=Bucket object-chi (attachments.food11)
        Wants=network-online.target
        After=network-online.target
        StartLimitIntervalSec=0

        [Service]
        Type=notify
        User=@user@
        CacheDirectory=anole-bucket-lab-food11
        ExecStartPre=+/usr/bin/env "sh" "-c" "kind=; while read -r _ at is _; do [ \"$$at\" != \"$$1\" ] || kind=$$is; done </proc/self/mounts; case $$kind in '') ;; fuse|fuse.*) umount -l \"$$0\" ;; *) echo \"$$kind is mounted at $$0\" >&2; exit 1 ;; esac" "/mnt/100%% \"mine\"" "/mnt/100%%\\040\"mine\""
        ExecStart=/usr/bin/env …
        ExecStopPost=-+/usr/bin/env "sh" "-c" "kind=; while read -r _ at is _; do [ \"$$at\" != \"$$1\" ] || kind=$$is; done </proc/self/mounts; case $$kind in '') ;; fuse|fuse.*) umount -l \"$$0\" ;; *) echo \"$$kind is mounted at $$0\" >&2; exit 1 ;; esac" "/mnt/100%% \"mine\"" "/mnt/100%%\\040\"mine\""
        Restart=on-failure
        RestartSec=5
        TimeoutStopSec=300

        [Install]
        WantedBy=multi-user.target
        "#);
        insta::assert_snapshot!(BUCKET.config(), @"
        [store]
        type = s3
        provider = Other
        endpoint = https://chi.example.org:7480
        region = us-east-1
        access_key_id = the-id
        secret_access_key = the-key
        no_check_bucket = true
        ");
    }

    #[test]
    fn what_else_is_mounted_there_is_left_alone() {
        let run = |path: &str| {
            let ran = std::process::Command::new("sh").args(["-c", FREE, path, &listed(path)]).output().unwrap();
            (ran.status.success(), String::from_utf8(ran.stderr).unwrap())
        };
        assert_eq!(run("/proc"), (false, "proc is mounted at /proc\n".to_owned()));
        assert_eq!(run("/nothing is here"), (true, String::new()));
        assert_eq!(listed("/a b\\c\td"), r"/a\040b\134c\011d");
    }

    #[test]
    fn a_refusal_is_told_by_its_code_and_no_digits() {
        // As rclone 1.60 and 1.75 said it of Ceph's gateway.
        let bucket = Bucket { bucket: "course-404", ..BUCKET };
        let why = |said: &str| reason(said, &bucket).0.replace("https://chi.example.org:7480", "the store");
        let old =
            "error in ListJSON: SignatureDoesNotMatch: \n\tstatus code: 403, request id: tx000004042a-404-default";
        let new = "operation error S3: ListObjects, https response error StatusCode: 403, RequestID: tx404";
        let refused = "the store does not let the keys read bucket `course-404`";
        assert_eq!([why(old), why(new)], [refused; 2]);
        let missing = "the store has no bucket `course-404`";
        let by_head = "operation error S3: HeadBucket, https response error StatusCode: 404, RequestID: tx000403";
        assert_eq!([why("error listing: directory not found"), why(by_head)], [missing; 2]);
        assert_eq!(why("bucket course-404: i/o timeout"), "the server does not reach the store");
        assert_eq!(why("course-404: tx403404"), "rclone does not mount bucket `course-404` of the store");
    }

    #[test]
    fn a_tool_that_does_not_say_when_it_has_mounted_is_waited_for() {
        let after = |tool| {
            let unit = Bucket { tool, path: "/mnt/object", ..BUCKET }.unit();
            unit.lines().find_map(|line| line.strip_prefix("ExecStartPost=")).map(str::to_owned)
        };
        assert_eq!(after(Tool::Rclone), None);
        assert_eq!(after(Tool::S3fs), after(Tool::Goofys));
        insta::assert_snapshot!(after(Tool::S3fs).unwrap(), @r#"/usr/bin/env "sh" "-c" "until mountpoint -q \"$$0\"; do kill -0 \"$$MAINPID\" || exit 1; sleep 0.2; done" "/mnt/object""#);
    }

    #[test]
    fn each_tool_by_its_own_words() {
        insta::assert_snapshot!(started(&BUCKET), @r#"
        "rclone"
        "mount"
        "store:object-chi"
        "/mnt/100%% \"mine\""
        "--config=/etc/anole/buckets/anole-bucket-lab-food11.conf"
        "--dir-cache-time=10s"
        "--use-server-modtime"
        "--cache-dir=/var/cache/anole-bucket-lab-food11"
        "--read-only"
        "--allow-other"
        "#);
        let written =
            Bucket { read_only: false, allow_other: false, options: vec!["--vfs-cache-max-size=1G"], ..BUCKET };
        insta::assert_snapshot!(started(&written), @r#"
        "rclone"
        "mount"
        "store:object-chi"
        "/mnt/100%% \"mine\""
        "--config=/etc/anole/buckets/anole-bucket-lab-food11.conf"
        "--dir-cache-time=10s"
        "--use-server-modtime"
        "--cache-dir=/var/cache/anole-bucket-lab-food11"
        "--vfs-cache-mode=writes"
        "--vfs-cache-max-size=1G"
        "#);
        insta::assert_snapshot!(started(&Bucket { tool: Tool::S3fs, path: "/mnt/object", ..BUCKET }), @r#"
        "s3fs"
        "object-chi"
        "/mnt/object"
        "-f"
        "-o"
        "passwd_file=/etc/anole/buckets/anole-bucket-lab-food11.conf,url=https://chi.example.org:7480,endpoint=us-east-1,use_path_request_style,uid=@uid@,gid=@gid@,umask=0022,ro,allow_other"
        "#);
        insta::assert_snapshot!(started(&Bucket { tool: Tool::Goofys, path: "/mnt/object", ..BUCKET }), @r#"
        "goofys"
        "-f"
        "--endpoint"
        "https://chi.example.org:7480"
        "--region"
        "us-east-1"
        "--uid"
        "@uid@"
        "--gid"
        "@gid@"
        "-o"
        "ro"
        "-o"
        "allow_other"
        "object-chi"
        "/mnt/object"
        "#);
    }
}
