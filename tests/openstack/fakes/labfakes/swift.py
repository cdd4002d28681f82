"""A Swift server whose swift.conf is not in /etc: python -m labfakes.swift proxy|account|container|object FOLDER"""

import importlib
import sys

from swift.common import utils

if __name__ == "__main__":
    kind, folder = sys.argv[1:3]
    # Before the server is imported: some of its modules read the file as they load.
    utils.SWIFT_CONF_FILE = f"{folder}/swift.conf"
    sys.argv = [f"swift-{kind}-server", f"{folder}/{kind}-server.conf"]
    importlib.import_module("swift.obj.server" if kind == "object" else f"swift.{kind}.server").main()
