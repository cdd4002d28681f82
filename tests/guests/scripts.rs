//! Scripts in servers: a service whose data outlives its server, what it is run again for, and what it leaves when it is
//! cut off.

use super::kit::Lab;
use super::storage::{failure, mounted, stack, volumes};

/// A stand-in for a database and its server: it keeps what it is sent in files on the volume, and answers with all of it.
const SERVICE: &str = r#"import http.server, os, pathlib
root = pathlib.Path("/mnt/data/service")
root.mkdir(exist_ok=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        self.wfile.write("".join(sorted(path.read_text() for path in root.iterdir())).encode())
    def do_PUT(self):
        if self.headers["Token"] != os.environ["TOKEN"]:
            self.send_response(403); self.end_headers(); return
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with open(root / self.path.strip("/"), "w") as file:
            file.write(body + "\n"); file.flush(); os.fsync(file.fileno())
        self.send_response(201); self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", 8000), Handler).serve_forever()
"#;

fn service(image: &str, more: &str) -> String {
    let text = format!(
        "{}attachments:\n{}scripts:\n\
         \x20 group: {{ server: one, run: \"sudo groupadd -f lab && sudo usermod -aG lab cc\", creates: /etc/no-such }}\n\
         \x20 service:\n    server: one\n    depends_on: [scripts.group]\n    uses: [attachments.data]\n\
         \x20   files: [{{ source: ./service, path: /opt/service, owner: root }}]\n\
         \x20   env: {{ TOKEN: \"${{var.token}}\", FLAVOR: plain }}\n\
         \x20   run: |\n      id -nG | grep -qw lab || {{ echo not of the group lab; exit 3; }}\n\
         \x20     cd /mnt/data; nohup python3 /opt/service/main.py &\n\
         \x20     echo $! >/tmp/service.pid; echo \"$FLAVOR token is $TOKEN\"\n\
         \x20   stop: kill \"$(cat /tmp/service.pid)\" || true\n\
         \x20   wait_for: {{ http: \"http://127.0.0.1:8000/\", timeout: 2m }}\n{more}\
         variables:\n  token: {{ required: true, sensitive: true }}\n",
        volumes(&["data"]),
        mounted("data", ", filesystem: ext4"),
    );
    stack(&text).replace("CC-Ubuntu24.04", image)
}

/// What is put into the service, and what it says then.
#[track_caller]
fn put(lab: &Lab, name: &str) -> String {
    let url = "http://127.0.0.1:8000";
    lab.ssh("one", &format!("curl -sf -X PUT -H 'Token: hush-1234' -d {name} {url}/{name} && curl -sf {url}/"))
}

#[test]
#[ignore = "needs QEMU: tests/guests/run"]
fn a_service_outlives_its_server() {
    let mut lab = Lab::new();
    lab.env.set("ANOLE_VAR_token", "hush-1234");
    std::fs::create_dir(lab.env.path("service")).expect("a folder");
    lab.env.write("service/main.py", SERVICE);
    lab.env.write("spec.yaml", &service("CC-Ubuntu24.04", ""));
    let said = lab.env.apply("spec.yaml").omits("hush-1234").says("plain token is [redacted]");
    assert!(said.stderr.contains("scripts.service: ran in"), "{}", said.stderr);
    lab.env.has_no_changes("spec.yaml");
    assert_eq!(put(&lab, "first"), "first");

    // The server is made again: stopped, unmounted; mounted, started; the same data.
    lab.env.write("spec.yaml", &service("CC-Ubuntu22.04", ""));
    let said = lab.env.apply("spec.yaml").omits("making ").stderr;
    let order = [
        "scripts.service: removed",
        "attachments.data/mount: unmounted",
        "attachments.data: deleted",
        "servers.one: deleted",
        "servers.one: created",
        "attachments.data: created",
        "attachments.data/mount: mounted",
        "scripts.service: ran",
    ];
    let places: Vec<_> = order.iter().map(|word| said.find(word).unwrap_or_else(|| panic!("{word}: {said}"))).collect();
    assert!(places.is_sorted(), "{said}");
    lab.env.has_no_changes("spec.yaml");
    assert_eq!(put(&lab, "second"), "first\nsecond");

    // A changed file, then a changed value: run again, one at a time.
    lab.env.write("service/main.py", &SERVICE.replace("\"\".join", "\"*\".join"));
    lab.env.anole("plan spec.yaml").exits(0).says("scripts.service  run again: files changed");
    lab.env.apply("spec.yaml");
    assert_eq!(put(&lab, "third"), "first\n*second\n*third");
    lab.env.edit("spec.yaml", "FLAVOR: plain", "FLAVOR: spicy");
    lab.env.apply("spec.yaml").says("spicy token is [redacted]");
    assert_eq!(lab.ssh("one", "pgrep -fc '[o]pt/service/main.py'; pgrep -c -f '[h]ush-1234' || true"), "1\n0");

    // One that fails says how, and stays to be done.
    let failing = "  broken: { server: one, run: \"seq 30; echo the disk is full; exit 9\" }\n";
    lab.env.write("spec.yaml", &service("CC-Ubuntu22.04", failing));
    let said = failure(&lab.env.anole("apply spec.yaml --yes").exits(1), "scripts.broken");
    for part in ["scripts.broken ended with status 9; it said last", "the disk is full", "~/.anole/lab/broken/log"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!said.contains(" 11 ") && said.contains(" 12 "), "twenty lines: {said}");
    lab.env.anole("plan spec.yaml --detailed-exitcode").exits(2).says("scripts.broken");
    lab.env.edit("spec.yaml", "exit 9", "exit 0");
    lab.env.apply("spec.yaml");
    lab.env.has_no_changes("spec.yaml");

    // Destroyed, and its secret is nowhere.
    lab.env.anole("destroy spec.yaml --yes").exits(0).omits("hush-1234").says("scripts.service: removed");
    let known = lab.env.files().into_iter().filter(|path| !path.starts_with(lab.machines()));
    let holds = |path: &std::path::PathBuf| {
        String::from_utf8_lossy(&std::fs::read(path).expect("a file")).contains("hush-1234")
    };
    assert_eq!(known.filter(holds).collect::<Vec<_>>(), Vec::<std::path::PathBuf>::new(), "the secret is in no file");
}
