//! A cloud whose servers are virtual machines, for one test.
//!
//! ```ignore
//! let lab = Lab::with(&spec(&["one", "two"], "volumes:\n  data: { size: 1GiB, protect: false }\n"));
//! lab.env.apply("spec.yaml");                       // the binary, as in the fast tests: see `TestEnvironment`
//! assert_eq!(lab.ssh("one", "hostname"), "one");    // a server is called by its name in the site
//! lab.api("GET", "/compute/v2.1/servers/detail", json!({}));   // somebody else's request
//! ```
//!
//! In: a spec. Out: what its servers say. Invariants:
//! - A lab has a folder, a cloud and a range of loopback addresses of its own; its key pair is `key` and `key.pub` beside
//!   the spec.
//! - When it goes, so do its machines, and no other process: a machine is known by the lab's folder in its command line.
//! - `wait` is the only way to wait, and says what for when it is in vain.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anole::embedded::guests::image;
use serde_json::{Value as Json, json};

use crate::environment::TestEnvironment;
use crate::site::Site;

/// The longest wait: a boot under emulation beside other work, many times over.
const PATIENCE: Duration = Duration::from_secs(180);

/// How everybody but anole logs in.
const OPTIONS: &str = "-o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=5 -o StrictHostKeyChecking=no \
                       -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ServerAliveInterval=15";

/// A spec with these servers, each with a floating IP, and a security group that lets SSH in; `more` is further sections.
pub fn spec(servers: &[&str], more: &str) -> String {
    let mut text = "stack: lab\nsites:\n  kvm: { embedded: chameleon-kvm, guests: qemu }\n\
                    defaults: { name: \"${key}\" }\n\
                    keypairs:\n  laptop: { public_key: ./key.pub }\n\
                    security_groups:\n  ssh: { rules: [{ port: 22 }] }\nservers:\n"
        .to_owned();
    for name in servers {
        text.push_str(&format!(
            "  {name}: {{ image: CC-Ubuntu24.04, flavor: m1.small, keypair: laptop, networks: [sharednet1], \
             security_groups: [ssh] }}\n"
        ));
    }
    text.push_str("floating_ips:\n");
    for name in servers {
        text.push_str(&format!("  {name}: {{ network: public, server: {name} }}\n"));
    }
    text.push_str(more);
    text
}

/// A cloud with machines.
pub struct Lab {
    /// The folder with the spec, and the binary in it.
    pub env: TestEnvironment,
}

impl Lab {
    /// An empty one; the image is built already.
    pub fn new() -> Self {
        let mut env = TestEnvironment::new();
        let images = image::folder().expect("a folder of images");
        env.set("ANOLE_GUEST_IMAGE", &images.to_string_lossy());
        env.set("ANOLE_GUESTS", "qemu");
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f"]).arg(env.path("key"));
        let made = keygen.status().expect("ssh-keygen runs");
        assert!(made.success(), "a key pair");
        Self { env }
    }

    /// One with that spec, `spec.yaml`, not applied yet.
    pub fn with(spec: &str) -> Self {
        let lab = Self::new();
        lab.env.write("spec.yaml", spec);
        lab
    }

    /// One with that spec, applied.
    pub fn applied(spec: &str) -> Self {
        let lab = Self::with(spec);
        lab.env.apply("spec.yaml");
        lab
    }

    /// The cloud's documents, and requests of others.
    pub fn site(&self) -> Site {
        self.env.site().with_guests()
    }

    /// A request of user `demo`, which must be granted.
    #[track_caller]
    pub fn api(&self, method: &str, target: &str, body: Json) -> Json {
        self.site().call(method, target, body)
    }

    /// The server of that name, as Nova shows it.
    #[track_caller]
    pub fn server(&self, name: &str) -> Json {
        let all = self.api("GET", "/compute/v2.1/servers/detail", json!({}));
        let found = all["servers"].as_array().into_iter().flatten().find(|server| server["name"] == name);
        found.unwrap_or_else(|| panic!("no server {name} in {all}")).clone()
    }

    /// A server's id.
    #[track_caller]
    pub fn id(&self, name: &str) -> String {
        self.server(name)["id"].as_str().expect("an id").to_owned()
    }

    /// The address that leads to a server from outside.
    #[track_caller]
    pub fn address(&self, name: &str) -> String {
        let server = self.server(name);
        let networks = server["addresses"].as_object().into_iter().flatten();
        let mut all = networks.flat_map(|(_, addresses)| addresses.as_array().into_iter().flatten());
        let floating = all.find(|address| address["OS-EXT-IPS:type"] == "floating");
        floating.and_then(|address| address["addr"].as_str()).unwrap_or_else(|| panic!("{server}")).to_owned()
    }

    /// Has the server do something, as the API's `action` does.
    #[track_caller]
    pub fn act(&self, name: &str, action: Json) -> Json {
        self.api("POST", &format!("/compute/v2.1/servers/{}/action", self.id(name)), action)
    }

    /// What the server's console has said.
    #[track_caller]
    pub fn console(&self, name: &str) -> String {
        self.act(name, json!({"os-getConsoleOutput": {}}))["output"].as_str().expect("text").to_owned()
    }

    /// Waits until the server has this status.
    #[track_caller]
    pub fn awaits_status(&self, name: &str, status: &str) {
        self.wait(&format!("{name} {status}"), || self.server(name)["status"] == status);
    }

    /// The folder of a server's machine.
    #[track_caller]
    pub fn machine(&self, name: &str) -> PathBuf {
        self.machines().join(self.id(name))
    }

    /// The folder of all machines.
    pub fn machines(&self) -> PathBuf {
        self.env.path("state/embedded/clouds/kvm/guests")
    }

    /// The processes of all machines.
    pub fn processes(&self) -> Vec<u32> {
        let folder = self.machines();
        let folder = folder.canonicalize().unwrap_or(folder).to_string_lossy().into_owned();
        let all = std::fs::read_dir("/proc").expect("/proc").flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            line.starts_with("qemu-system") && line.contains(&folder)
        })
        .collect()
    }

    /// The process of a server's machine.
    #[track_caller]
    pub fn process(&self, name: &str) -> u32 {
        let text = std::fs::read_to_string(self.machine(name).join("pid")).expect("a machine's pid");
        let pid = text.trim().parse().expect("a number");
        assert!(self.processes().contains(&pid), "{name} has a process");
        pid
    }

    /// Kills a server's machine, as a crash of its host would.
    #[track_caller]
    pub fn crash(&self, name: &str) {
        let pid = self.process(name);
        end(pid);
        self.wait("the end of the process", || !self.processes().contains(&pid));
    }

    /// Crashes a server in which a unit mounts something at a path, with that unit made late, as on a machine that is
    /// busy: SSH answers before it starts. Then the plan is as if nothing had happened, for it waits.
    #[track_caller]
    pub fn comes_back(&self, name: &str, unit: &str, path: &str) {
        let late =
            "[Unit]\\nAfter=ssh.service\\n[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/sleep 20\\n";
        let after = "[Unit]\\nWants=late.service\\nAfter=late.service\\n";
        let drop_in = format!(
            "cd /etc/systemd/system && mkdir -p {unit}.d && printf '{late}' >late.service && \
             printf '{after}' >{unit}.d/late.conf && systemctl daemon-reload && sync"
        );
        self.ssh(name, &format!("sudo sh -c \"{drop_in}\""));
        self.crash(name);
        let address = self.address(name);
        let mut early = None;
        self.wait(&format!("{name} at {address} by SSH"), || {
            early = self.ssh_to(&address, &format!("mountpoint -q {path}")).status.code().filter(|code| *code != 255);
            early.is_some()
        });
        assert_ne!(early, Some(0), "{path} is mounted later than {name} answers, or this shows nothing");
        self.env.anole("plan spec.yaml --detailed-exitcode").exits(0).omits("says nothing over SSH");
        self.ssh(name, &format!("mountpoint -q {path}"));
    }

    /// What a command says on a server. It is waited for until the server answers; the command must succeed.
    #[track_caller]
    pub fn ssh(&self, name: &str, command: &str) -> String {
        let said = self.tries(name, command);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        let (out, err) = (text(&said.stdout), text(&said.stderr));
        assert!(said.status.success(), "on {name}: {command}\n{:?}\n{out}\n{err}", said.status);
        out
    }

    /// What a command says on a server, whether it succeeds or not. The server is waited for.
    #[track_caller]
    pub fn tries(&self, name: &str, command: &str) -> Output {
        let address = self.address(name);
        let mut last = None;
        self.wait(&format!("{name} at {address} by SSH"), || {
            let said = self.ssh_to(&address, "true");
            let there = said.status.success();
            last = Some(said);
            there
        });
        self.ssh_to(&address, command)
    }

    /// One try at an address. Code 255 is SSH's own: nobody is there, or not the right one.
    pub fn ssh_to(&self, address: &str, command: &str) -> Output {
        self.line_to(address, command).stdin(Stdio::null()).output().expect("ssh runs")
    }

    fn line_to(&self, address: &str, command: &str) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-i"]).arg(self.env.path("key")).args(OPTIONS.split_whitespace());
        ssh.arg(format!("cc@{address}")).arg(command);
        ssh
    }

    /// Where a text is on a server: the log-in user's files, and the words and environments of all processes. It goes there
    /// over standard input, so that the search does not find itself.
    #[track_caller]
    pub fn finds(&self, name: &str, text: &str) -> Vec<String> {
        assert!(!text.trim().is_empty(), "a text");
        let search = "cd && sudo sh -c 'grep -rlasF -f - . /proc/[0-9]*/cmdline /proc/[0-9]*/environ; true'";
        let mut ssh = self.line_to(&self.address(name), search);
        let mut ssh = ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("ssh runs");
        let mut input = ssh.stdin.take().expect("a pipe");
        writeln!(input, "{}", text.trim()).expect("a line");
        drop(input);
        let said = ssh.wait_with_output().expect("ssh ends");
        assert!(said.status.success(), "{:?}", said.status);
        String::from_utf8_lossy(&said.stdout).lines().map(str::to_owned).collect()
    }

    /// Copies a file or folder to an address.
    #[track_caller]
    pub fn copy(&self, from: &Path, address: &str, to: &str) {
        let mut scp = Command::new("scp");
        scp.args(["-q", "-r", "-F", "none", "-i"]).arg(self.env.path("key")).args(OPTIONS.split_whitespace());
        let said = scp.arg(from).arg(format!("cc@{address}:{to}")).output().expect("scp runs");
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    }

    /// Waits until it is so.
    #[track_caller]
    pub fn wait(&self, what: &str, so: impl FnMut() -> bool) {
        let (mut so, deadline) = (so, Instant::now() + PATIENCE);
        while !so() {
            assert!(Instant::now() < deadline, "waited in vain for {what}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.processes().into_iter().for_each(end);
    }
}

fn end(pid: u32) {
    let ended = Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status();
    ended.expect("kill runs");
}
