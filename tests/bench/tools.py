"""The tools that are measured: the commands of each, in a folder of its own.

In: a folder, the environment of a round's project. Out: for each phase the command, its exit code when all is well,
and what its plan says in one line.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess

HERE = pathlib.Path(__file__).parent
IMAGE, OTHER_IMAGE = "CC-Ubuntu24.04", "CC-Ubuntu22.04"
# What `terraform plan` and `anole plan` exit with under --detailed-exitcode where there are changes.
CHANGES = 2


class Tool:
    """One contestant: a subclass says the source, the commands and the user agent."""

    source = None

    def __init__(self, name, folder, environment):
        self.name, self.folder = name, pathlib.Path(folder)
        self.environment = dict(environment)
        self.folder.mkdir(parents=True)
        self.file = self.folder / self.source.name
        shutil.copy(self.source, self.file)

    def edit_image(self, before=IMAGE, after=OTHER_IMAGE):
        """Edits the first image line, as a person would."""
        text = self.file.read_text()
        if before not in text:
            raise SystemExit(f"{self.file} does not name {before}")
        # The first server's line, not a comment's.
        self.file.write_text(re.sub(rf"(\b0(?::| =) \"?){re.escape(before)}", rf"\g<1>{after}", text, count=1))

    def restore(self):
        shutil.copy(self.source, self.file)

    def own_count(self):
        """How many requests the last command says it sent; `None` where its user agent is nobody else's."""
        return None

    @staticmethod
    def summary(text):
        """What a plan comes to, in the tool's words."""
        return next((line.strip() for line in text.splitlines() if re.match(r"Plan: |No changes", line)), "")


class Anole(Tool):
    source = HERE / "anole" / "anole.yaml"
    agent = "anole/"

    def command(self, phase):
        # Everybody's anole has the same user agent, so its own log tells whether another one was at work.
        self.log = self.folder / f"{phase}.log"
        self.log.unlink(missing_ok=True)
        return [os.environ["ANOLE"], "--log", self.log.name] + {
            "apply": ["apply", "--yes"],
            "plan": ["plan", "--detailed-exitcode"],
            "destroy": ["destroy", "--yes"],
        }[phase]

    def own_count(self):
        lines = map(json.loads, self.log.read_text().splitlines())
        return sum(line["fields"].get("message") == "request" for line in lines)

    @staticmethod
    def version():
        return subprocess.check_output([os.environ["ANOLE"], "--version"], text=True).strip()


class Terraform(Tool):
    source = HERE / "terraform" / "main.tf"

    def __init__(self, name, folder, environment, parallelism=None):
        super().__init__(name, folder, environment)
        self.parallelism = [] if parallelism is None else [f"-parallelism={parallelism}"]
        self.agent = f"bench-{os.getpid()}"
        # The provider that the bench built, and no registry.
        settings = self.folder / "cli.tfrc"
        settings.write_text(
            "provider_installation {\n  dev_overrides {\n"
            f'    "terraform-provider-openstack/openstack" = "{os.environ["PROVIDER"]}"\n  }}\n}}\n'
        )
        self.environment |= {
            "TF_CLI_CONFIG_FILE": str(settings), "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1",
            "TF_APPEND_USER_AGENT": self.agent,
        }

    def command(self, phase):
        binary = os.environ["TERRAFORM"]
        common = ["-input=false", "-no-color", *self.parallelism]
        return {
            "apply": [binary, "apply", "-auto-approve", *common],
            "plan": [binary, "plan", "-detailed-exitcode", *common],
            "destroy": [binary, "destroy", "-auto-approve", *common],
        }[phase]

    @staticmethod
    def version():
        environment = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
        text = subprocess.check_output([os.environ["TERRAFORM"], "version"], text=True, env=environment)
        return f"{text.splitlines()[0]}, provider {os.environ['PROVIDER_VERSION']}"
